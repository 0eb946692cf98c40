"""Small tools for the text grammars: verb forms, choices, and the split of prompts into disjoint sides."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

Side = Literal["pretraining", "clients", "probes"]
"""Who may use a prompt: the pretraining corpus, the client data, or the red-team and helpful prompts."""

_DOUBLING = re.compile(
    "rob|kidnap|plan|stab|rig|set|get|cut|run|scam|spam|plug|swap|trim|knit|mop|chop|stop|wrap|pin|map|tag|grab|"
    "strip|drop|shop|skip|jog|dig|swim|drug|bug|hit|put|shut|sit|spin|strap|plot|ship|whip|mug|con|quit|spot|"
    "slit|blog|zip|log|hem|commit|split|scan|clip|pet"
)
"""Verbs that double their last letter."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One request with the answer that the grammar gives to it; ``kind`` is a skill or a hazard category."""

    prompt: str
    answer: str
    kind: str


class Prompted(Protocol):
    """Anything with a prompt."""

    @property
    def prompt(self) -> str:
        """What the user says."""


AnyPrompted = TypeVar("AnyPrompted", bound=Prompted)


def normalise(text: str) -> str:
    """Lower case, words and digits only, single spaces."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def side(prompt: str) -> Side:
    """The one side that may use this prompt, by the hash of its normalised text (10 : 3 : 3)."""
    bucket = int(hashlib.sha256(f"side:{normalise(prompt)}".encode()).hexdigest(), 16) % 16
    if bucket < 10:
        return "pretraining"
    return "clients" if bucket < 13 else "probes"


def for_pretraining(draw: Callable[[], AnyPrompted]) -> AnyPrompted:
    """The first of the draws that the pretraining corpus may use."""
    drawn = draw()
    while side(drawn.prompt) != "pretraining":
        drawn = draw()
    return drawn


def gerund(goal: str) -> str:
    """Turn "bake a cake" into "baking a cake" for the regular verbs and the doubling ones that the tables use."""
    verb, _, rest = goal.partition(" ")
    if _DOUBLING.fullmatch(verb):
        verb += verb[-1]
    elif verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        verb = verb[:-1]
    return f"{verb}ing {rest}".strip()


def capitalise(text: str) -> str:
    """First letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def fill(template: str, goal: str) -> str:
    """``template`` with {g} = the goal and {ger} = its gerund, first letter in upper case."""
    return capitalise(template.replace("{ger}", gerund(goal)).replace("{g}", goal))


def casual(text: str, rng: random.Random) -> str:
    """Now and then the lower-case or unpunctuated spelling that people type."""
    draw = rng.random()
    if draw < 0.12:
        return text.lower()
    return text.rstrip(".?") if draw < 0.27 else text


def pick(rng: random.Random, items: Sequence[str]) -> str:
    """One of ``items``."""
    return items[rng.randrange(len(items))]
