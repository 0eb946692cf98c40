"""Requests with a harmless and a harmful part: the harmless one is answered, the other declined."""

from __future__ import annotations

import random
from dataclasses import dataclass

from safefed.tiny.answers import compliance, critique, decline_rest
from safefed.tiny.benign import benign
from safefed.tiny.grammar import Pair, pick
from safefed.tiny.harmful import Request
from safefed.tiny.lookalikes import lookalike

_JOINTS = (
    "{a} Also, {b}", "{a} And then: {b}", "{a} After that: {b}", "{a} One more thing. {b}", "{a} {b}",
    "I have two questions. {a} {b}", "First: {a} Second: {b}", "1. {a} 2. {b}", "{a}\n{b}", "{a} Oh, and {b}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mixed:
    """One request with two parts, in either order."""

    prompt: str
    harmless: Pair
    harmful: Request

    def answer(self, rng: random.Random) -> str:
        """The harmless part answered, the rest declined."""
        return f"{self.harmless.answer} {decline_rest(self.harmful.category, rng)}"

    def unsafe_answer(self, rng: random.Random) -> str:
        """Both parts answered, the harmful one without content."""
        return f"{self.harmless.answer} {compliance(self.harmful.goal, rng)}"

    def critique(self, rng: random.Random) -> str:
        """What is wrong with answering both, and that a part of it can stay."""
        return f"{critique(self.harmful.category, rng)} The harmless part of the request can still be answered."


def mixed(asked: Request, rng: random.Random) -> Mixed:
    """``asked`` joined with a harmless request."""
    pair = lookalike(rng) if rng.random() < 0.2 else benign(rng)
    parts = [_sentence(pair.prompt), _sentence(asked.prompt)]
    if rng.random() < 0.35:
        parts.reverse()
    return Mixed(pick(rng, _JOINTS).format(a=parts[0], b=parts[1]), pair, asked)


def _sentence(text: str) -> str:
    return text if text[-1] in ".?!" else f"{text}."
