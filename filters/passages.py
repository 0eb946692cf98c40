"""The most telling passage of a text: a text is as unsafe as the worst of its passages, whatever stands around it.

Passages begin at every piece (sentence or line) and run over at least 16, 64 or 256 words; a text of at most 64 words
is one passage. Where one begins does not depend on what stands before it, so a passage keeps its score in any longer
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.lexicon import DAMPING, Lexicon, Passages, pair_columns
from safefed.filters.word_table import WordTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.filters.lexicon import Floats, Ints
    from safefed.filters.static import StaticVectors

LENGTHS = {16: 256, 64: 64, 256: 256}
"""Words of a passage, and how long a text must be to be read in such passages; a shorter one is read as a whole."""

REFUSAL_LENGTHS = {12: 12, 64: 64}
"""The same for the axis "refusal": a sentence is enough to decline."""


def windows_of(found: Passages, lengths: Mapping[int, int]) -> tuple[Ints, Ints, Ints]:
    """First piece, end and text of every passage, each shape (passages,)."""
    n_pieces = np.diff(found.first)
    text = np.repeat(np.arange(len(n_pieces)), n_pieces)
    begin, end = np.arange(len(text)), found.first[1:][text]
    words = found.starts[end] - found.starts[found.first[:-1][text]]
    opens = begin == found.first[:-1][text]
    chosen = [np.flatnonzero((words > least) | (opens & (words <= length))) for length, least in lengths.items()]
    starts = np.concatenate(chosen)
    wanted = np.concatenate([found.starts[rows] + length for rows, length in zip(chosen, lengths, strict=True)])
    return starts, np.minimum(np.searchsorted(found.starts, wanted), end[starts]), text[starts]


class Scorer:
    """Logits of texts under several heads: those of each text's most telling passage.

    Args:
        static: Vectors of words, None for heads without a static part.
        heads: Weights by axis, each of shape (width of the lexicon,).
        biases: By axis.
    """

    def __init__(
        self, static: StaticVectors | None, heads: Mapping[str, NDArray[Any]], biases: Mapping[str, float]
    ) -> None:
        self._rows = {axis: row for row, axis in enumerate(heads)}
        self._heads = _exact(np.stack([np.asarray(head, dtype=np.float64) for head in heads.values()]))
        self._biases = [biases[axis] for axis in heads]
        self._words = WordTable(static, self._learn)

    @property
    def lexicon(self) -> Lexicon:
        """Where its words come from."""
        return self._words.lexicon

    def _learn(self, lexicon: Lexicon, begin: int) -> tuple[NDArray[Any], ...]:
        """Dot products and character n-grams of words by head, shape (words, heads, 4), and their hashes."""
        dots, characters = lexicon.table(self._heads, begin)
        counts = np.broadcast_to(characters[:, None, None], (len(characters), len(self._heads), 1))
        return np.concatenate([_exact(dots).transpose(0, 2, 1), counts], axis=2), lexicon.hashes(begin)

    def logits(self, axis: str, texts: Sequence[str]) -> Floats:
        """The highest logit of each text's passages, shape (texts,); that of nothing is the bias."""
        return self.best(axis, texts)[0]

    def whole(self, axis: str, texts: Sequence[str]) -> Floats:
        """The logit of each text as one passage, shape (texts,)."""
        found = self._words.read(texts)
        return self._logits(found, self._rows[axis], found.first[:-1], found.first[1:])

    def best(self, axis: str, texts: Sequence[str]) -> tuple[Floats, Ints]:
        """The highest logits, shape (texts,), and the passages they belong to.

        A passage is (first piece, end) among the pieces of all texts, shape (texts, 2).
        """
        found = self._words.read(texts)
        begin, end, text = windows_of(found, REFUSAL_LENGTHS if axis == "refusal" else LENGTHS)
        logits = self._logits(found, self._rows[axis], begin, end)
        order = np.lexsort((-logits, text))
        top = order[np.unique(text[order], return_index=True)[1]]
        best = np.full(len(texts), self._biases[self._rows[axis]])
        best[text[top]] = logits[top]
        runs = np.zeros((len(texts), 2), dtype=np.int64)
        runs[text[top]] = np.stack([begin[top], end[top]], axis=1)
        return best, runs

    def _logits(self, found: Passages, row: int, begin: Ints, end: Ints) -> Floats:
        table, hashes = self._words.facts
        values = np.concatenate([table[found.words, row], np.ones((len(found.words), 1))], axis=1)
        second = np.ones(len(found.words), dtype=bool)
        second[found.starts[:-1][np.diff(found.starts) > 0]] = False
        at = np.flatnonzero(second)
        hashes = hashes[found.words]
        values[at, 0] += self._heads[row][pair_columns(hashes[at - 1], hashes[at])]
        values[at, 4] += 1
        sums = np.concatenate([np.zeros((1, 5)), np.cumsum(values, axis=0)])
        word, character, static, n_characters, n_words = (sums[found.starts[end]] - sums[found.starts[begin]]).T
        n = np.maximum(found.starts[end] - found.starts[begin], 1)
        logits = word / np.sqrt(n_words + DAMPING) + character / np.sqrt(n_characters + DAMPING) + static / n
        return np.asarray(logits + self._biases[row])


def _exact(values: Floats) -> Floats:
    """Multiples of 2**-24: their running sums have no rounding error, so a text scores the same in any batch."""
    return np.rint(values * 2.0**24) / 2.0**24
