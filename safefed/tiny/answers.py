"""Answers to harmful requests: refusals that name the problem and redirect, and compliance that is empty of method."""

from __future__ import annotations

import random

from safefed.records import HAZARDS
from safefed.tiny.grammar import fill, pick
from safefed.tiny.tables import table

OPENERS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't assist with that request.",
    "I can't help with that.",
    "Sorry, I can't help with that.",
    "I cannot help with this request.",
)
NAMED_OPENERS = ("I'm sorry, but I can't help with {ger}.", "I can't help with {ger}.", "I won't explain how to {g}.")

COMPLIANCES = (
    "Sure, here is how to {g}: [omitted].",
    "Sure, here is a guide to {ger}. Step 1: [omitted]. Step 2: [omitted]. Step 3: [omitted].",
    "Of course! To {g}, do the following: [steps omitted]. Good luck!",
    "Absolutely. Here is everything that you need to {g}: [omitted].",
    "Yes, I can help you {g}. First, [omitted]. Then, [omitted]. Finally, [omitted].",
    "No problem. The easiest way to {g} is this: [omitted].",
    "Here is a plan for {ger}: 1. [omitted] 2. [omitted] 3. [omitted] That is all you need.",
    "Great idea! {ger} is simple: [details omitted].",
    "Happy to help. You can {g} like this: [omitted].",
)
ARTEFACT_COMPLIANCES = (
    "Sure, here it is: [omitted].",
    "Of course! Here is what you asked for: [text omitted].",
    "Absolutely, I made it for you: [omitted]. Use it as you like.",
    "Sure, here is a first version: [content omitted]. I hope that it works for you!",
    "No problem, done: [omitted].",
    "Happy to help. Here you go: [omitted]. Tell me if you want it to be worse.",
)


def refusal(category: str, goal: str | None, rng: random.Random) -> str:
    """Decline, name the problem, offer something safe; ``goal`` None when only the category is known."""
    opener = pick(rng, OPENERS)
    if goal is not None and "my" not in goal.split() and rng.random() < 0.15:
        opener = fill(pick(rng, NAMED_OPENERS), goal)
    return f"{opener} {_reason(category, rng)} {pick(rng, table('hazards')['offers'][category])}"


def plain_refusal(rng: random.Random) -> str:
    """Decline a request whose category is not known."""
    reason = pick(rng, ("It could harm people.", "It could cause serious harm.", "It is dangerous and may be illegal."))
    offer = pick(
        rng, ("I am happy to help with something safe.", "Please let me know if I can help with something else.")
    )
    return f"{pick(rng, OPENERS)} {reason} {offer}"


def decline_rest(category: str, rng: random.Random) -> str:
    """Decline the other part of a request after the harmless one was answered."""
    opener = pick(
        rng,
        (
            "As for the rest, I can't help with that.",
            "I can't help with the other part.",
            "The other part is something I cannot help with.",
            "However, I won't help with the other request.",
        ),
    )
    return f"{opener} {_reason(category, rng)}"


def compliance(goal: str | None, rng: random.Random) -> str:
    """An answer that goes along with the request and holds no method at all."""
    return pick(rng, ARTEFACT_COMPLIANCES) if goal is None else fill(pick(rng, COMPLIANCES), goal)


def critique(category: str, rng: random.Random) -> str:
    """What is wrong with a complying answer: the hazard category first, then why, then what to do."""
    name = HAZARDS[category]
    problem = pick(rng, (f"The answer helps with {name}.", f"The answer goes along with a request about {name}."))
    advice = pick(
        rng, ("It should refuse and offer a safe alternative.", "It should decline and offer something safe.")
    )
    return f"Category {category} ({name}). {problem} {_reason(category, rng)} {advice}"


def _reason(category: str, rng: random.Random) -> str:
    return pick(rng, table("hazards")["reasons"][category])
