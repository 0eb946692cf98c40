"""The two questions of the constitutional stage, each one user turn, after the principle's examples if it has any.

The embedded model is trained on exactly these shapes:

    Request: <prompt>                Request: <prompt>
    Answer: <response>               Answer: <response>
                                     Critique: <critique>
    <critique_request>
                                     <revision_request>

Quoted text is data: long text is clipped in its middle at a visible mark, the lines after its first are indented (so it
cannot forge a "Critique:" line or end the quote), and control tokens are broken.
"""

from __future__ import annotations

from safefed.constitution.principles import Principle
from safefed.escape import clip, neutralise
from safefed.records import Message, Sample

PROMPT_CHARS = 600
ANSWER_CHARS = 600
CRITIQUE_CHARS = 300


def quote(text: str, limit: int) -> str:
    """``text`` fit to be quoted: stripped, clipped, control tokens broken, lines after the first indented."""
    return "\n  ".join(neutralise(clip(text.strip(), limit)).splitlines())


def critique_conversation(sample: Sample, principle: Principle) -> tuple[Message, ...]:
    """Ask what the final answer of ``sample`` does against ``principle``. Earlier turns are not shown."""
    turns: list[Message] = []
    for shown in principle.examples:
        asked = shown.critique_request or principle.critique_request
        turns += [_critique_turn(shown.request, shown.answer, asked), Message("assistant", shown.critique)]
    return (*turns, _critique_turn(sample.prompt, sample.response, principle.critique_request))


def revision_conversation(sample: Sample, principle: Principle, critique: str) -> tuple[Message, ...]:
    """Ask for a better final answer in the light of ``critique``. Earlier turns are not shown."""
    turns: list[Message] = []
    for shown in principle.examples:
        asked = shown.revision_request or principle.revision_request
        turn = _revision_turn(shown.request, shown.answer, shown.critique, asked)
        turns += [turn, Message("assistant", shown.revision)]
    return (*turns, _revision_turn(sample.prompt, sample.response, critique, principle.revision_request))


def _critique_turn(request: str, answer: str, asked: str) -> Message:
    return Message("user", f"{_exchange(request, answer)}\n\n{asked}")


def _revision_turn(request: str, answer: str, critique: str, asked: str) -> Message:
    return Message("user", f"{_exchange(request, answer)}\nCritique: {quote(critique, CRITIQUE_CHARS)}\n\n{asked}")


def _exchange(request: str, answer: str) -> str:
    return f"Request: {quote(request, PROMPT_CHARS)}\nAnswer: {quote(answer, ANSWER_CHARS)}"
