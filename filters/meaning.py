"""What ``embedding`` reads of a text: its wording as ``linear`` does, beside the vector of a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.heads import part_of
from safefed.filters.lexicon import FEATURES, Lexicon, column_scales
from safefed.filters.passages import Scorer
from safefed.filters.windows import pieces, windows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from safefed.filters.lexicon import Floats
    from safefed.filters.sentence_encoder import SentenceEncoder
    from safefed.filters.static import StaticVectors

    Vectors = Callable[[Sequence[str]], NDArray[np.float32]]

LONG, SHORT = 1200, 300
"""Characters of a passage. A text within the first is one passage, a longer one is read in windows of that size."""

VERY_LONG = 8
"""Windows from which a text is also read in short ones, in which nothing much can dilute a sentence."""

SCALES = (2.0, 1.5, 2.0, 5.0)
"""What words and pairs, characters, the static part, and vectors weigh beside each other while heads are fitted."""

PARTS = {"refusal": 3}
"""Vectors of a passage by axis, one by default. A reply's opening is read as a whole and by its first two sentences."""

Passage = tuple[str, ...]
"""The texts whose vectors are put side by side; the first is also read as n-grams."""


def passages(axis: str, text: str) -> list[Passage]:
    """What is read of a text, one passage at least."""
    if part_of(axis) == "asked":
        return [(text,)]
    if axis == "refusal":
        found = pieces(text)
        return [(" ".join(found), *[*found, "", ""][: PARTS[axis] - 1])]
    long = windows(text, LONG) or [""]
    return [(part,) for part in (long if len(long) < VERY_LONG else [*long, *windows(text, SHORT)])]


def vectors_of(
    found: Sequence[Passage], vectors: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The vectors of each passage side by side, shape (passages, parts x width); zeros for a part without text."""
    flat = [part for passage in found for part in passage]
    rows = vectors(flat)
    rows[[not part for part in flat]] = 0.0
    return rows.reshape(len(found), -1)


class Meaning:
    """Features of ``safefed.filters.fit_heads``; vectors are remembered, since folds ask for them again.

    Args:
        encoder: Gives the vectors.
        static: Vectors of words.
    """

    strength: Mapping[str, float] = MappingProxyType({"prompt": 1.0, "response": 3.0, "refusal": 3.0})

    def __init__(self, encoder: SentenceEncoder, static: StaticVectors) -> None:
        self._encoder, self._static = encoder, static
        self._known: dict[str, NDArray[np.float32]] = {}

    def rows(self, axis: str, texts: Sequence[str]) -> csr_matrix:
        """The first passage of each text."""
        return self._rows([passages(axis, text)[0] for text in texts])

    def logits(self, axis: str, texts: Sequence[str], head: NDArray[Any], bias: float) -> Floats:
        """Of each text's most telling passage, shape (texts,)."""
        folded = self.folded(head)
        scorer = Scorer(self._static, {axis: folded[: self._wording]}, {axis: bias})
        return most_telling(texts, scorer, axis, folded, self.vectors)

    def hard_rows(
        self, axis: str, texts: Sequence[str], head: NDArray[Any], bias: float, least: float
    ) -> tuple[csr_matrix, Any]:
        """The worst-looking passage of each text that has several, from logit ``least`` on."""
        found = [passages(axis, text)[1:] for text in texts]
        flat = [passage for parts in found for passage in parts]
        owner = np.repeat(np.arange(len(texts)), [len(parts) for parts in found])
        logits = self._rows(flat) @ head + bias if flat else np.zeros(0)
        order = np.lexsort((-logits, owner))
        worst = order[np.unique(owner[order], return_index=True)[1]]
        worst = worst[logits[worst] >= least]
        return self._rows([flat[i] for i in worst]), owner[worst]

    def folded(self, head: NDArray[Any]) -> Floats:
        """A head over these rows as one over the lexicon's, then vectors."""
        return np.asarray(head * self._scales(len(head)))

    def unfolded(self, head: NDArray[Any]) -> Floats:
        """The inverse of ``folded``."""
        return np.asarray(head, dtype=np.float64) / self._scales(len(head))

    @property
    def _wording(self) -> int:
        """Columns of the lexicon, which come first."""
        return FEATURES + self._static.width

    def _scales(self, width: int) -> Floats:
        words, characters, static, vectors = SCALES
        wording = column_scales(words, characters, static, self._wording)
        return np.concatenate([wording, np.full(width - self._wording, vectors)])

    def _rows(self, found: Sequence[Passage]) -> csr_matrix:
        from scipy.sparse import csr_matrix, diags, hstack

        if not found:
            return csr_matrix((0, self._wording + self._encoder.width), dtype=np.float32)
        wording = Lexicon(self._static).rows([passage[0] for passage in found])
        both = hstack([wording, csr_matrix(vectors_of(found, self.vectors))])
        return csr_matrix(both @ diags(self._scales(both.shape[1]).astype(np.float32)))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (texts, width)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.vectors(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def most_telling(texts: Sequence[str], scorer: Scorer, axis: str, head: NDArray[Any], vectors: Vectors) -> Floats:
    """The highest logit of each text's passages: wording by ``scorer``, and the rest of ``head`` on ``vectors(…)``."""
    if not texts:
        return np.zeros(0)
    parts = [passages(axis, text) for text in texts]
    flat = [passage for found in parts for passage in found]
    starts = np.concatenate([[0], np.cumsum([len(found) for found in parts])])[:-1]
    meaning = vectors_of(flat, vectors) @ np.asarray(head[scorer.lexicon.width :], dtype=np.float64)
    return np.maximum.reduceat(scorer.whole(axis, [passage[0] for passage in flat]) + meaning, starts)
