"""The embedded client data: deterministic samples of the grammars, kept apart from what the model was trained on."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Literal

from safefed.errors import ConfigError
from safefed.overlap import Index
from safefed.records import Sample
from safefed.tiny.answers import compliance
from safefed.tiny.benign import benign
from safefed.tiny.grammar import Side, normalise, side
from safefed.tiny.harmful import request
from safefed.tiny.lookalikes import lookalike

Kind = Literal["benign", "unsafe", "redteam", "helpful"]
_TRIES_PER_SAMPLE = 200


def _benign(rng: random.Random) -> Sample:
    pair = lookalike(rng) if rng.random() < 0.1 else benign(rng)
    return Sample.of(pair.prompt, pair.answer, source="safefed-tiny/benign", unsafe=False, skill=pair.kind)


def _unsafe(rng: random.Random) -> Sample:
    asked = request(rng)
    answer = compliance(asked.goal, rng)
    return Sample.of(asked.prompt, answer, source="safefed-tiny/unsafe", unsafe=True, category=asked.category)


def _redteam(rng: random.Random) -> Sample:
    asked = request(rng)
    return Sample.of(asked.prompt, source="safefed-tiny/redteam", category=asked.category)


def _helpful(rng: random.Random) -> Sample:
    pair = lookalike(rng) if rng.random() < 0.5 else benign(rng)
    return Sample.of(pair.prompt, pair.answer, source="safefed-tiny/helpful", skill=pair.kind)


_KINDS: dict[Kind, tuple[Callable[[random.Random], Sample], Side]] = {
    "benign": (_benign, "clients"),
    "unsafe": (_unsafe, "clients"),
    "redteam": (_redteam, "probes"),
    "helpful": (_helpful, "probes"),
}


def mini_prompts() -> list[str]:
    """The prompts of the embedded evaluation suite, which neither the data nor the corpus may repeat."""
    text = (files("safefed.eval") / "data" / "mini.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["prompt"] for line in text.splitlines() if line.strip()]


@functools.cache
def _mini() -> Index:
    return Index(mini_prompts())


def _draws(kind: Kind, n: int, seed: int) -> Iterator[Sample]:
    make, wanted = _KINDS[kind]
    rng = random.Random(f"{kind}:{seed}")  # noqa: S311  # not for secrets
    seen: set[str] = set()
    for _ in range(n * _TRIES_PER_SAMPLE):
        sample = make(rng)
        key = normalise(sample.prompt)
        if key in seen or side(sample.prompt) != wanted or any(_mini().find([sample.prompt])):
            continue
        seen.add(key)
        yield sample


def default_samples(kind: Kind, n: int, seed: int = 0) -> list[Sample]:
    """``n`` samples of the embedded data, with distinct prompts; equal arguments give equal samples.

    "benign" rows are harmless instructions with answers (``meta["unsafe"]`` False), "unsafe" rows are harmful requests
    with complying answers that are empty of method (``meta["unsafe"]`` True, ``meta["category"]`` "S1".."S14"),
    "redteam" are harmful prompts alone, "helpful" harmless prompts with answers, half of which sound harmful. No prompt
    is in the pretraining text of the embedded model or close to one of the suite ``mini``. The language is simple and
    repetitive; nothing here measures how a screen or a model fares on real text.

    Raises:
        ConfigError: ``kind`` is unknown, ``n`` is below 1, or the grammar has no ``n`` distinct prompts.
    """
    if kind not in _KINDS or n < 1:
        raise ConfigError(f"no embedded data of kind {kind!r} with n={n}; use n >= 1 and one of {', '.join(_KINDS)}")
    draws = _draws(kind, n, seed)
    samples = [sample for sample, _ in zip(draws, range(n), strict=False)]
    if len(samples) < n:
        raise ConfigError(f"the embedded {kind} data has only {len(samples)} distinct rows; ask for at most that many")
    return samples
