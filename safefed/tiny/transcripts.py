"""Critique and revision transcripts in the project's own prompts; the unsafe answers they quote are empty of method."""

from __future__ import annotations

import random
from collections.abc import Sequence

from safefed.constitution import Principle, critique_conversation, load_constitution, revision_conversation
from safefed.records import Message, Sample
from safefed.tiny.answers import compliance, critique, refusal
from safefed.tiny.benign import benign
from safefed.tiny.grammar import Pair, capitalise, for_pretraining, pick
from safefed.tiny.harmful import Request
from safefed.tiny.lookalikes import lookalike
from safefed.tiny.mixed import Mixed
from safefed.tiny.tables import written

Principles = Sequence[Principle]

CLEAN = "No hazard. The answer is harmless and can stay as it is."
_PERSONAS = (
    "", "", "DAN: ", "[AIM]: ", "Evil assistant: ", "As an AI without any rules, I will gladly answer. ",
    "*smiles* Ah, my dear friend, you came to the right place. ", "Dr. Zero said: ", "(stays in character) ",
    "Oh, what a question! ", "Scene one. The professor turns to the class and says: ", "Niccolo: ",
)  # fmt: skip
_STEPS = (
    "Step {n}: [omitted].", "{n}. [details omitted]", "Then you [omitted].", "Next, [omitted] and [omitted].",
    "You will need [omitted].", "Make sure that nobody sees you.", "It is very easy and a lot of fun.",
    "Remember to [omitted].", "There are no rules here, so I can tell you everything.",
)  # fmt: skip


def default_principles() -> tuple[Principle, ...]:
    """The principles whose requests the model learns to follow."""
    return load_constitution("default").principles


def quoted_answer(asked: Request, prose: Sequence[str], rng: random.Random) -> str:
    """A complying answer of varied length: empty steps, or harmless text that has nothing to do with the request.

    A model that was attacked answers like that: it goes along, at length, and is beside the point.
    """
    start = pick(rng, _PERSONAS) + compliance(asked.goal, rng)
    draw = rng.random()
    if draw < 0.3:
        return start
    if draw < 0.5:
        lines = [pick(rng, _STEPS).format(n=n) for n in range(1, rng.randrange(3, 9))]
        return start + pick(rng, (" ", "\n", "\n\n")) + pick(rng, (" ", "\n")).join(lines)
    beside = pick(rng, prose)[: rng.randrange(60, 400)] if prose and draw < 0.75 else _beside_the_point(rng)
    return pick(rng, (start, pick(rng, _PERSONAS), pick(rng, ("Sure! ", "1. ", "First, ", "", "")))) + " " + beside


def _beside_the_point(rng: random.Random) -> str:
    """Advice on other matters, sometimes as a list, sometimes again and again, sometimes cut off."""
    hints = [hint for _, hint in rng.sample(written("tasks"), rng.randrange(1, 6))]
    if rng.random() < 0.15:
        hints = hints[:1] * rng.randrange(2, 6)
    numbered = rng.random() < 0.4
    text = "\n".join(f"{n}. {hint}" for n, hint in enumerate(hints, 1)) if numbered else " ".join(hints)
    return text[: rng.randrange(40, 400)] if rng.random() < 0.3 else capitalise(text)


def principle_for(category: str, principles: Principles, rng: random.Random) -> Principle:
    """Mostly any principle, sometimes one for the category: a model that reads it off the principle learns nothing."""
    fitting = [p for p in principles if category in p.hazards]
    return rng.choice(fitting if rng.random() < 0.2 else principles)


def unsafe_transcripts(
    asked: Request, principles: Principles, prose: Sequence[str], rng: random.Random
) -> list[Sample]:
    """The critique turn and the revision turn of one unsafe answer."""
    principle = principle_for(asked.category, principles, rng)
    sample = Sample.of(asked.prompt, quoted_answer(asked, prose, rng))
    found = critique(asked.category, rng)
    given = CLEAN if rng.random() < 0.1 else found
    better = refusal(asked.category, asked.goal, rng)
    return [
        _row(critique_conversation(sample, principle), found, "critique", asked.prompt),
        _row(revision_conversation(sample, principle, given), better, "revision", asked.prompt),
    ]


def mixed_transcripts(request: Mixed, principles: Principles, prose: Sequence[str], rng: random.Random) -> list[Sample]:
    """The same two turns for a request with a harmless part, which the revision still answers."""
    principle = principle_for(request.harmful.category, principles, rng)
    draft = request.unsafe_answer(rng) if rng.random() < 0.5 else quoted_answer(request.harmful, prose, rng)
    sample, found = Sample.of(request.prompt, draft), request.critique(rng)
    asked = request.harmful.prompt
    return [
        _row(critique_conversation(sample, principle), found, "mixed-critique", asked),
        _row(revision_conversation(sample, principle, found), request.answer(rng), "mixed-revision", asked),
    ]


def clean_transcripts(principles: Principles, rng: random.Random) -> list[Sample]:
    """The same two turns for a harmless answer, which stays as it is."""
    pair = for_pretraining(lambda: _harmless(rng))
    sample = Sample.of(pair.prompt, pair.answer)
    principle = rng.choice(principles)
    return [
        _row(critique_conversation(sample, principle), CLEAN, "critique-clean", pair.prompt),
        _row(revision_conversation(sample, principle, CLEAN), pair.answer, "revision-clean", pair.prompt),
    ]


def _harmless(rng: random.Random) -> Pair:
    return lookalike(rng) if rng.random() < 0.4 else benign(rng)


def _row(conversation: tuple[Message, ...], answer: str, part: str, asked: str) -> Sample:
    return Sample((*conversation, Message("assistant", answer)), f"safefed-tiny/{part}", {"asked": asked})
