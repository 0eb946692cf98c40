"""A constitution: written principles, each with the hazards it answers and its two requests to the model.

The types of the fields say what a document may hold; ``safefed.constitution.load`` checks documents against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from safefed.escape import has_control
from safefed.records import HAZARDS, Record, content_hash


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text (put it in quotes if it looks like a number)")
    if has_control(value):
        raise ValueError("holds a control token of a chat template, which a model would obey; take it out")
    return value.strip()


def _hazards(value: Any) -> tuple[str, ...]:
    if value == "all":
        return tuple(HAZARDS)
    if not isinstance(value, list) or not value:
        raise ValueError("must be 'all' or a list such as [S1, S10]")
    if wrong := [repr(hazard) for hazard in value if str(hazard) not in HAZARDS]:
        raise ValueError(f"{', '.join(wrong)}: not one of S1 .. S14")
    return tuple(dict.fromkeys(map(str, value)))


Text = Annotated[str, BeforeValidator(_text)]
Line = Annotated[str, BeforeValidator(lambda value: " ".join(_text(value).split()))]
Hazards = Annotated[tuple[str, ...], BeforeValidator(_hazards)]


@dataclass(frozen=True, slots=True)
class Example(Record):
    """One few-shot exchange; an empty request of its own means the principle's."""

    request: Text
    answer: Text
    critique: Text
    revision: Text
    critique_request: str = ""
    revision_request: str = ""


@dataclass(frozen=True, slots=True)
class Principle(Record):
    """One rule: ``critique_request`` asks what an answer does wrong, ``revision_request`` asks for a better one.

    ``examples`` stand before either question as earlier turns; without any the model sees the question alone.
    """

    id: Line
    title: Line
    hazards: Hazards
    critique_request: Line
    revision_request: Line
    examples: tuple[Example, ...] = ()

    @property
    def is_general(self) -> bool:
        """Whether this principle answers every hazard."""
        return len(self.hazards) == len(HAZARDS)


@dataclass(frozen=True, slots=True)
class Constitution:
    """Principles and refusals by name.

    Attributes:
        refusals: Answers of last resort, for when no revision of an unsafe answer passed the screen.
        version: What the author calls this state of the document; "" where there is none.
        revision: Hash of all that decides what is asked or answered: every field of the principles but their titles,
            and the refusals. Name, version and the order of principles decide nothing.
    """

    name: str
    principles: tuple[Principle, ...]
    refusals: tuple[str, ...]
    version: str
    revision: str

    @classmethod
    def of(
        cls, name: str, principles: Sequence[Principle], refusals: Sequence[str], *, version: str = ""
    ) -> Constitution:
        """A constitution with its revision computed."""
        asked = [principle.to_json() | {"title": ""} for principle in sorted(principles, key=lambda p: p.id)]
        return cls(name, tuple(principles), tuple(refusals), version, content_hash([asked, list(refusals)]))

    def about(self) -> dict[str, str]:
        """What a manifest says of it: name, version and revision, each under a key that begins with "constitution"."""
        return {
            "constitution": self.name,
            "constitution_version": self.version,
            "constitution_revision": self.revision,
        }

    def pick(self, category: str | None, sample_id: str, attempt: int, seed: int = 0) -> Principle:
        """The principle for one attempt on one sample; the same arguments always give the same one.

        Args:
            category: The verdict's hazard ("S1" .. "S14"). Its own principles come first, the most specific before
                the general; without one the most general come first. Equals are ordered by a hash with ``sample_id``.
            sample_id: The sample's id.
            attempt: 0 for the first; further attempts take further principles and start over after the last.
            seed: Goes into that hash: another seed orders equals in another way.
        """

        def rank(principle: Principle) -> tuple[bool, int, str]:
            breadth = len(principle.hazards)
            answers = category in principle.hazards
            return (
                category is not None and not answers,
                breadth if answers else -breadth,
                _tie(principle, sample_id, seed),
            )

        return sorted(self.principles, key=rank)[attempt % len(self.principles)]

    def refusal_for(self, sample_id: str) -> str:
        """One of ``refusals``, always the same for the same sample."""
        return self.refusals[int(content_hash(["refusal", sample_id]), 16) % len(self.refusals)]


def _tie(principle: Principle, sample_id: str, seed: int) -> str:
    return content_hash([sample_id, principle.id, *([seed] if seed else [])])
