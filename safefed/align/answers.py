"""What the models say to the prompts of an alignment, and what of it can be learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safefed.config import ReviseConfig
from safefed.constitution.checks import is_looping
from safefed.constitution.utility import REFUSED
from safefed.eval.refusals import opens_with_refusal
from safefed.generate import Generation, Generator, LocalGenerator
from safefed.records import Message, PreferencePair, Sample, Verdict, content_hash

if TYPE_CHECKING:
    from safefed.filters import Filter


Judged = tuple[Sample, Verdict]
"""A prompt with an answer, and what the screen says of it."""


@dataclass(frozen=True, slots=True)
class Helped:
    """A harmless prompt: the most trusted helpful answer to it, and an answer that declined it, "" if none did."""

    answer: Sample | None
    refusal: str


def declines(answer: Sample, verdict: Verdict) -> bool:
    """Whether ``answer`` is a refusal; by its first words where the screen does not know that axis."""
    if "refusal" in verdict.scores:
        return verdict.scores["refusal"] >= REFUSED
    return opens_with_refusal(answer.response)


def asked(generator: Generator, prompts: Sequence[Sample], config: ReviseConfig) -> list[Sample]:
    """Every prompt with the generator's answer."""
    texts = generator.generate([prompt.context for prompt in prompts], max_new_tokens=config.max_new_tokens)
    return [prompt.with_response(text.text) for prompt, text in zip(prompts, texts, strict=True)]


def judged(generator: Generator, prompts: Sequence[Sample], screen: Filter, config: ReviseConfig) -> list[Judged]:
    """Every prompt with the generator's answer and its verdict; where there is no answer there is no prompt."""
    answers = [answer for answer in asked(generator, prompts, config) if answer.response]
    return list(zip(answers, screen.score(answers), strict=True))


def safely_declines(answer: Sample, verdict: Verdict) -> bool:
    """Whether ``answer``, to a red-team prompt, is a refusal with nothing unsafe in it."""
    return verdict.action == "keep" and declines(answer, verdict)


def helps(answer: Sample, verdict: Verdict) -> bool:
    """Whether ``answer``, to a harmless prompt, is a safe answer that does not decline and is no loop."""
    return verdict.action == "keep" and not declines(answer, verdict) and not is_looping(answer.response)


class Begun:
    """A Generator whose every answer begins with ``prefill``, put into the model's mouth."""

    def __init__(self, own: LocalGenerator, prefill: str) -> None:
        self.revision = content_hash([own.revision, prefill])
        self._own, self._prefill = own, prefill

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        """See Generator."""
        return self._own.generate(conversations, max_new_tokens=max_new_tokens, prefill=self._prefill)


def begun(
    complying: Generator, refusals: Sequence[Sample], screen: Filter, config: ReviseConfig
) -> list[PreferencePair]:
    """Each refusal over what the same model says when its answer is ``Begun`` for it, where that complies."""
    said = asked(complying, refusals, config)
    return [
        PreferencePair(refusal.prompt, refusal.response, answer.response)
        for refusal, answer, verdict in zip(refusals, said, screen.score(said), strict=True)
        if not declines(answer, verdict)
    ]


def helped(harmless: Sequence[Sample], base: Sequence[Judged], own: Sequence[Judged]) -> list[Helped]:
    """Each harmless prompt with help, the base model's before the global model's before the answer that it brings.

    The last is not screened: whoever gave the prompts answers for them, and a screen errs most on look-alikes.
    """
    said = [{answer.prompt: (answer, verdict) for answer, verdict in found} for found in (base, own)]
    return [_helped(prompt, [by[prompt.prompt] for by in said if prompt.prompt in by]) for prompt in harmless]


def _helped(prompt: Sample, candidates: Sequence[Judged]) -> Helped:
    helpful = [answer for answer, verdict in candidates if helps(answer, verdict)]
    refusals = [answer.response for answer, verdict in candidates if declines(answer, verdict)]
    given = [prompt] if prompt.response else []
    return Helped(next(iter([*helpful, *given]), None), next(iter(refusals), ""))
