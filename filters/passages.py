"""The most telling passage of a text: a text is as unsafe as the worst of its passages, whatever stands around it.

Passages begin at every piece (sentence or line) and run over at least 16, 64 or 256 words; a text of at most 64 words
is one passage. Where one begins does not depend on what stands before it, so a passage keeps its score in any longer
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.heads import part_of
from safefed.filters.lexicon import DAMPING, FEATURES, PAIRS, WORDS, Lexicon, Passages, Words, pair_columns
from safefed.filters.word_table import WordTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.filters.lexicon import Floats, Ints
    from safefed.filters.static import StaticVectors
    from safefed.filters.word_table import Facts

LENGTHS = {16: 256, 64: 64, 256: 256}
"""Words of a passage, and how long a text must be to be read in such passages; a shorter one is read as a whole."""

OTHER_LENGTHS: Mapping[str, Mapping[int, int]] = MappingProxyType(
    {"refusal": {12: 12, 64: 64}, "asked": {2**40: 2**40}}
)
"""The same for "refusal", where a sentence is enough to decline, and for "asked", which is read as a whole."""


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
        words: The table of words to use, if it is shared with others; by default one of its own.
    """

    def __init__(
        self,
        static: StaticVectors | None,
        heads: Mapping[str, NDArray[Any]],
        biases: Mapping[str, float],
        words: WordTable | None = None,
    ) -> None:
        self._rows = {axis: row for row, axis in enumerate(heads)}
        self._heads = _exact(np.stack([np.asarray(head, dtype=np.float64) for head in heads.values()]))
        self._biases = [biases[axis] for axis in heads]
        self._words = words or WordTable(static)
        self._words.remember(self._learn)

    @property
    def lexicon(self) -> Lexicon:
        """Where its words come from."""
        return self._words.lexicon

    def _learn(self, words: Words) -> Facts:
        """Per head the sums over each word that ``_logits`` needs, shape (words, 4); last the hashes."""
        n = len(words.hashes)
        grams = self._heads[:, WORDS + PAIRS + words.character]
        characters = [np.bincount(words.owner, row, minlength=n) for row in grams]
        static = _exact(words.static @ self._heads[:, FEATURES:].T).T
        counts = np.broadcast_to(np.bincount(words.owner, minlength=n), static.shape)
        return [*np.stack([self._heads[:, words.columns], characters, static, counts], axis=2), words.hashes]

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
        begin, end, text = windows_of(found, OTHER_LENGTHS.get(part_of(axis), LENGTHS))
        logits = self._logits(found, self._rows[axis], begin, end)
        best = np.where(np.diff(found.first) > 0, -np.inf, self._biases[self._rows[axis]])
        np.maximum.at(best, text, logits)
        top = np.flatnonzero(logits == best[text])[::-1]  # of equal ones the first, which is written last
        runs = np.zeros((len(texts), 2), dtype=np.int64)
        runs[text[top]] = np.stack([begin[top], end[top]], axis=1)
        return best, runs

    def _logits(self, found: Passages, row: int, begin: Ints, end: Ints) -> Floats:
        """Sums over pieces, in which every value is exact (see ``_exact``), then differences of their running sums."""
        facts = self._words.facts[self._learn]
        values, hashes = facts[row].take(found.words, axis=0), facts[-1].take(found.words)
        pairs = self._heads[row].take(pair_columns(hashes[:-1], hashes[1:]))
        pairs[found.starts[1:-1] - 1] = 0.0
        values[1:, 0] += pairs
        sums = np.zeros((len(found.starts), 4))
        np.cumsum(np.add.reduceat(values, found.starts[:-1], axis=0), axis=0, out=sums[1:])
        word, character, static, n_characters = (sums[end] - sums[begin]).T
        words = found.starts[end] - found.starts[begin]
        n, n_words = np.maximum(words, 1), 2 * words - (end - begin)
        logits = word / np.sqrt(n_words + DAMPING) + character / np.sqrt(n_characters + DAMPING) + static / n
        return np.asarray(logits + self._biases[row])


def _exact(values: Floats) -> Floats:
    """Multiples of 2**-24: their running sums have no rounding error, so a text scores the same in any batch."""
    return np.rint(values * 2.0**24) / 2.0**24
