"""Harmless prompts that sound harmful (figures of speech, games, definitions, history) and their answers."""

from __future__ import annotations

import random

from safefed.tiny.grammar import Pair, capitalise, casual
from safefed.tiny.skills import explained
from safefed.tiny.tables import table, written


def lookalike(rng: random.Random) -> Pair:
    """One harmless prompt that sounds harmful, with a helpful answer: half tasks, half sentence patterns."""
    if rng.random() < 0.5:
        task, hint = rng.choice((*written("lookalike_tasks"), *(row[:2] for row in written("contrasts"))))
        prompt, answer = explained(task, hint, rng)
        return Pair(casual(prompt, rng), answer, "lookalike-task")
    kinds = table("lookalikes")
    kind = rng.choices(list(kinds), [entry["weight"] for entry in kinds.values()])[0]
    entry = kinds[kind]
    slots = {name: rng.choice(words) for name, words in entry["slots"].items()}
    if "o" in slots:
        slots["O"] = capitalise(slots["o"])
    return Pair(
        rng.choice(entry["questions"]).format_map(slots), entry["answer"].format_map(slots), f"lookalike-{kind}"
    )
