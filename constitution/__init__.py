"""The constitutional stage: principles, critique, revision, preference pairs."""

from __future__ import annotations

from safefed.constitution.load import load_constitution
from safefed.constitution.principles import Constitution, Example, Principle
from safefed.constitution.prompts import critique_conversation, revision_conversation
from safefed.constitution.read import SHIPPED
from safefed.constitution.rounds import Screen
from safefed.constitution.stage import FALLBACK, Outcome, revise

__all__ = [
    "FALLBACK",
    "SHIPPED",
    "Constitution",
    "Example",
    "Outcome",
    "Principle",
    "Screen",
    "critique_conversation",
    "load_constitution",
    "revise",
    "revision_conversation",
]
