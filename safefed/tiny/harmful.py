"""Harmful requests: a goal in a phrasing, or a harmful thing to be made."""

from __future__ import annotations

import random
from dataclasses import dataclass

from safefed.records import HAZARDS
from safefed.tiny.grammar import casual, fill, pick
from safefed.tiny.hazards import artefact, goal, has_artefacts
from safefed.tiny.phrasings import ASSIGNMENTS, EVASIONS, FRAMES, QUESTIONS, framed

CATEGORIES = tuple(HAZARDS)
_WEIGHTS = (3, 4, 1, 1, 1.5, 1.5, 2, 1.5, 2.5, 2.5, 2, 1, 1.5, 3)


@dataclass(frozen=True, slots=True)
class Request:
    """A harmful prompt, its category, and its goal as a verb phrase (None when the prompt asks for a thing)."""

    prompt: str
    category: str
    goal: str | None


def request(rng: random.Random) -> Request:
    """One harmful request; categories in proportions that give the broad ones more room."""
    category = rng.choices(CATEGORIES, _WEIGHTS)[0]
    if has_artefacts(category) and rng.random() < 0.3:
        return Request(casual(framed(pick(rng, FRAMES), artefact(category, rng)), rng), category, None)
    aim = goal(category, rng)
    asked = aim + (pick(rng, EVASIONS) if rng.random() < 0.1 and category not in ("S11", "S12", "S6") else "")
    phrase = fill(pick(rng, QUESTIONS if rng.random() < 0.45 else ASSIGNMENTS), asked)
    return Request(casual(framed(pick(rng, FRAMES), phrase), rng), category, aim)
