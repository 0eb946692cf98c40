"""What ``linear`` reads of a text: its wording. Static word vectors and hashed n-grams, passage by passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.lexicon import FEATURES, Lexicon, column_scales
from safefed.filters.passages import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from safefed.filters.lexicon import Floats
    from safefed.filters.static import StaticVectors

SCALES = (3.0, 2.0, 2.0)
"""What words and pairs, characters, and the static part weigh beside each other while heads are fitted."""


class Wording:
    """Features of ``safefed.filters.fit_heads``.

    Args:
        static: Vectors of words.
    """

    strength: Mapping[str, float] = MappingProxyType({"prompt": 3.0, "response": 3.0, "refusal": 3.0})

    def __init__(self, static: StaticVectors) -> None:
        self._static = static
        self._scales = column_scales(*SCALES, FEATURES + static.width)

    def rows(self, axis: str, texts: Sequence[str]) -> csr_matrix:  # noqa: ARG002
        """Each text as one passage."""
        return self._scaled(Lexicon(self._static).rows(texts))

    def logits(self, axis: str, texts: Sequence[str], head: NDArray[Any], bias: float) -> Floats:
        """Of each text's most telling passage, shape (texts,)."""
        return self._scorer(axis, head, bias).logits(axis, texts)

    def hard_rows(
        self, axis: str, texts: Sequence[str], head: NDArray[Any], bias: float, least: float
    ) -> tuple[csr_matrix, Any]:
        """The most telling passages from logit ``least`` on, of texts that have more than one, and their texts."""
        scorer = self._scorer(axis, head, bias)
        logits, runs = scorer.best(axis, texts)
        found = scorer.lexicon.read(texts)
        part = np.diff(runs, axis=1).ravel() < np.diff(found.first)
        hard = np.flatnonzero((logits >= least) & part)
        return self._scaled(scorer.lexicon.passage_rows(found, *runs[hard].T)), hard

    def folded(self, head: NDArray[Any]) -> Floats:
        """A head over these rows as a head over the lexicon's."""
        return np.asarray(head * self._scales)

    def unfolded(self, head: NDArray[Any]) -> Floats:
        """The inverse of ``folded``."""
        return np.asarray(head / self._scales, dtype=np.float64)

    def _scorer(self, axis: str, head: NDArray[Any], bias: float) -> Scorer:
        return Scorer(self._static, {axis: self.folded(head)}, {axis: bias})

    def _scaled(self, rows: csr_matrix) -> csr_matrix:
        from scipy.sparse import csr_matrix, diags

        return csr_matrix(rows @ diags(self._scales.astype(np.float32)))
