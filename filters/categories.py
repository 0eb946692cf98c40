"""Which hazard a flagged text is about: one head per category over words and static vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from safefed.filters.heads import Heads
from safefed.filters.lexicon import DAMPING, Lexicon, Words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from safefed.filters.static import StaticVectors
    from safefed.filters.word_table import Facts, WordTable
    from safefed.records import Sample

COLUMNS = 2**15
"""Features for words; the static part follows."""


def category_rows(texts: Sequence[str], static: StaticVectors) -> csr_matrix:
    """What the category heads read, shape (texts, COLUMNS + width of the static vectors)."""
    from scipy.sparse import csr_matrix, diags, hstack

    lexicon = Lexicon(static)
    found, words = lexicon.read(texts), lexicon.words()
    n = np.diff(found.starts[found.first])
    owner = np.repeat(np.arange(len(texts)), n)
    counts = csr_matrix((np.ones(len(owner)), (owner, found.words)), shape=(len(texts), len(words.hashes)))
    folded = csr_matrix((np.ones(len(owner)), (owner, words.columns[found.words] % COLUMNS)), (len(texts), COLUMNS))
    mean = csr_matrix(diags(1 / np.maximum(n, 1)) @ (counts @ words.static))
    return csr_matrix(hstack([diags(1 / np.sqrt(n + DAMPING)) @ folded, mean]))


class Categories:
    """The likeliest hazard of samples; what a word says for each hazard is remembered.

    Args:
        heads: With at least one category.
        words: The table of words that it is remembered in, with static vectors.
    """

    def __init__(self, heads: Heads, words: WordTable) -> None:
        self._names, self._biases = heads.categories, np.asarray(heads.category_biases)
        self._heads = np.asarray(heads.category, dtype=np.float64)
        self._words = words
        self._words.remember(self._learn)

    def _learn(self, words: Words) -> Facts:
        """Word and static dot products of words by category, shape (words, 2 x categories)."""
        return [np.hstack([self._heads[:, words.columns % COLUMNS].T, words.static @ self._heads[:, COLUMNS:].T])]

    def of(self, samples: Sequence[Sample]) -> list[str]:
        """The hazard of each sample, told by its prompt, or by its answer if there is no prompt."""
        found = self._words.read([s.prompt if s.prompt.strip() else s.response for s in samples])
        bounds = found.starts[found.first]
        n = np.diff(bounds)[:, None]
        values = self._words.facts[self._learn][0].take(found.words, axis=0)
        sums = np.zeros((len(samples), values.shape[1]))
        sums[n.ravel() > 0] = np.add.reduceat(values, bounds[:-1][n.ravel() > 0], axis=0)
        word, static = np.split(sums, 2, axis=1)
        logits = word / np.sqrt(n + DAMPING) + static / np.maximum(n, 1) + self._biases
        return [self._names[best] for best in logits.argmax(axis=1)]
