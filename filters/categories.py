"""Which hazard a flagged text is about: one head per category over words and static vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from safefed.filters.heads import Heads
from safefed.filters.lexicon import DAMPING, Lexicon

if TYPE_CHECKING:
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


def categories_of(samples: Sequence[Sample], heads: Heads, static: StaticVectors) -> list[str]:
    """The likeliest hazard of each sample, told by its prompt, or by its answer if there is no prompt."""
    if not samples:
        return []
    texts = [sample.prompt if sample.prompt.strip() else sample.response for sample in samples]
    logits = category_rows(texts, static) @ heads.category.T.astype(np.float32) + np.asarray(heads.category_biases)
    return [heads.categories[best] for best in logits.argmax(axis=1)]
