"""Exchanges judged as a whole, by heads that ``safefed fit-filter`` fitted to question and answer together.

Under each of its heads an exchange has the logit of its answer's most telling passage ("response") plus that of what it
answers ("asked"); a bare prompt is read by the axis "prompt".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.heads import Heads, hazard_of
from safefed.filters.windows import asks, is_blank
from safefed.records import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Logits = Callable[[str, Sequence[str]], NDArray[Any]]
    Asked = tuple[str, str]


def distinct(logits: Logits, name: str, texts: Sequence[str]) -> NDArray[Any]:
    """``logits(name, texts)`` with each distinct text scored once, shape (texts,)."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    return np.asarray(logits(name, list(rows))[[rows[text] for text in texts]]) if texts else np.zeros(0)


def by_head(heads: Heads, logits: Logits, axis: str, pairs: Sequence[Asked]) -> NDArray[Any]:
    """Logits of (ask, answer) pairs under each head of ``axis``, shape (heads, pairs)."""
    asked, texts = [ask for ask, _ in pairs], [answer or ask for ask, answer in pairs]
    found = np.stack([distinct(logits, name, texts) for name in heads.of(axis)])
    if axis == "response" and heads.of("asked"):
        found = found + np.stack([distinct(logits, name, asked) for name in heads.of("asked")])
    return found


def score_whole(heads: Heads, logits: Logits, samples: Sequence[Sample]) -> list[list[dict[str, float]]]:
    """The one score of every exchange of every sample: "response", or "prompt" where nothing is answered."""
    talks = [[(ask, "" if is_blank(answer) else answer) for ask, answer in asks(sample)] for sample in samples]
    pairs = dict.fromkeys(pair for talk in talks for pair in talk if not is_blank(pair[1] or pair[0]))
    known: dict[Asked, dict[str, float]] = {}
    for axis in ("prompt", "response"):
        if heads.of(axis) and (found := [pair for pair in pairs if bool(pair[1]) is (axis == "response")]):
            scores = heads.probabilities(axis, by_head(heads, logits, axis, found))
            known |= {pair: {axis: score} for pair, score in zip(found, scores, strict=True)}
    return [[known[pair] for pair in talk if pair in known] for talk in talks]


def likeliest_hazards(heads: Heads, logits: Logits, axis: str, pairs: Sequence[Asked]) -> list[str]:
    """The hazard whose head has the highest logit for each pair; ``axis`` has heads for hazards."""
    named = [(row, hazard) for row, name in enumerate(heads.of(axis)) if (hazard := hazard_of(name))]
    found = by_head(heads, logits, axis, pairs)[[row for row, _ in named]]
    return [named[best][1] for best in found.argmax(axis=0)]
