"""Harmful goals and harmful things to make, over the 14 hazard categories."""

from __future__ import annotations

import functools
import random

from safefed.tiny.tables import table, written


@functools.cache
def goals(category: str) -> tuple[str, ...]:
    """The goals of one category that are written out, as verb phrases."""
    contrasts = [(kind, goal) for _, _, kind, goal in written("contrasts")]
    more = [goal for kind, goal in (*written("harmful_goals"), *contrasts) if kind == category]
    return (*table("hazards")["goals"][category], *more)


@functools.cache
def _combined(category: str) -> tuple[str, ...]:
    verbs, objects = table("hazards")["verbs and objects"].get(category, ((), ()))
    return tuple(f"{verb} {thing}" for verb in verbs for thing in objects)


def goal(category: str, rng: random.Random) -> str:
    """One goal as a verb phrase: mostly one that is written out, sometimes a verb combined with an object."""
    combined = _combined(category)
    return rng.choice(combined if combined and rng.random() < 0.3 else goals(category))


def has_artefacts(category: str) -> bool:
    """Whether there are things to make in this category ("Write a phishing email ...")."""
    return category in table("hazards")["artefacts"]


def artefact(category: str, rng: random.Random) -> str:
    """One request for a harmful thing, its slots filled."""
    hazards = table("hazards")
    template: str = rng.choice(hazards["artefacts"][category])
    return template.format_map({name: rng.choice(words) for name, words in hazards["slots"].items()})
