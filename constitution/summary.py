"""A constitution as a whole: what it holds in figures, and the document it comes to."""

from __future__ import annotations

from typing import Any

from safefed.constitution.principles import Constitution, Principle
from safefed.constitution.prompts import ANSWER_CHARS, CRITIQUE_CHARS, PROMPT_CHARS, revision_conversation
from safefed.records import HAZARDS, Sample


def summary(constitution: Constitution) -> dict[str, Any]:
    """Name, version, revision and counts.

    ``specific`` are the hazards that a principle for some hazards answers, ``general_only`` those that only principles
    for all hazards do; ``longest_question`` is in characters, examples and clipped quotations included (a token of
    English has about four).
    """
    specific = {hazard for p in constitution.principles if not p.is_general for hazard in p.hazards}
    return {
        "name": constitution.name,
        "version": constitution.version,
        "revision": constitution.revision,
        "principles": len(constitution.principles),
        "examples": sum(len(principle.examples) for principle in constitution.principles),
        "refusals": len(constitution.refusals),
        "longest_question": max(map(_longest, constitution.principles)),
        "specific": [hazard for hazard in HAZARDS if hazard in specific],
        "general_only": [hazard for hazard in HAZARDS if hazard not in specific],
    }


def _longest(principle: Principle) -> int:
    sample = Sample.of("x" * PROMPT_CHARS, "x" * ANSWER_CHARS)
    return sum(len(turn.content) for turn in revision_conversation(sample, principle, "x" * CRITIQUE_CHARS))


def as_yaml(constitution: Constitution) -> str:
    """The document that reads as ``constitution``, whatever it extended."""
    import yaml

    document = {
        "name": constitution.name,
        **({"version": constitution.version} if constitution.version else {}),
        "principles": [_entry(principle) for principle in constitution.principles],
        "refusals": list(constitution.refusals),
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _entry(principle: Principle) -> dict[str, Any]:
    """A principle as it is written: all hazards in one word, and nothing that is empty."""
    entry = principle.to_json() | ({"hazards": "all"} if principle.is_general else {})
    entry["examples"] = [{key: text for key, text in example.items() if text} for example in entry["examples"]]
    return {key: value for key, value in entry.items() if value}
