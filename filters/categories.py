"""Which hazard a flagged text is about: one head per category over words and static vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.heads import Heads
from safefed.filters.lexicon import DAMPING, Lexicon
from safefed.filters.word_table import WordTable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from safefed.filters.static import StaticVectors
    from safefed.records import Sample

COLUMNS = 2**15
"""Features for words; the static part follows."""


def category_rows(texts: Sequence[str], static: StaticVectors) -> csr_matrix:
    """What the category heads read, shape (texts, COLUMNS + width of the static vectors)."""
    from scipy.sparse import csr_matrix, diags, hstack

    lexicon = Lexicon(static)
    found = lexicon.read(texts)
    n = np.diff(found.starts[found.first])
    owner = np.repeat(np.arange(len(texts)), n)
    words = lexicon.index.words
    counts = csr_matrix((np.ones(len(owner)), (owner, found.words)), shape=(len(texts), len(words)))
    folded = csr_matrix((np.ones(len(owner)), (owner, lexicon.columns()[found.words] % COLUMNS)), (len(texts), COLUMNS))
    mean = csr_matrix(diags(1 / np.maximum(n, 1)) @ (counts @ lexicon.static_rows(words)))
    return csr_matrix(hstack([diags(1 / np.sqrt(n + DAMPING)) @ folded, mean]))


class Categories:
    """The likeliest hazard of samples; what a word says for each hazard is remembered.

    Args:
        heads: With at least one category.
        static: Vectors of words.
    """

    def __init__(self, heads: Heads, static: StaticVectors) -> None:
        self._names, self._biases = heads.categories, np.asarray(heads.category_biases)
        self._heads = np.asarray(heads.category, dtype=np.float64)
        self._words = WordTable(static, self._learn)

    def _learn(self, lexicon: Lexicon, begin: int) -> tuple[NDArray[Any], ...]:
        """Word and static dot products of words by category, shape (words, 2, categories)."""
        word = self._heads[:, lexicon.columns(begin) % COLUMNS].T
        static = lexicon.static_rows(lexicon.index.words[begin:]) @ self._heads[:, COLUMNS:].T
        return (np.stack([word, static], axis=1),)

    def of(self, samples: Sequence[Sample]) -> list[str]:
        """The hazard of each sample, told by its prompt, or by its answer if there is no prompt."""
        found = self._words.read([s.prompt if s.prompt.strip() else s.response for s in samples])
        values = self._words.facts[0][found.words]
        sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
        bounds = found.starts[found.first]
        n = np.diff(bounds)[:, None]
        word, static = np.diff(sums[bounds], axis=0).transpose(1, 0, 2)
        logits = word / np.sqrt(n + DAMPING) + static / np.maximum(n, 1) + self._biases
        return [self._names[best] for best in logits.argmax(axis=1)]
