"""What is known of each distinct word, worked out once and remembered from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.lexicon import Lexicon, Passages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.filters.static import StaticVectors

    Facts = tuple[NDArray[Any], ...]

MOST_WORDS = 200_000
"""Distinct words that are remembered; then the table is begun anew, so that memory does not grow with the rows."""


class WordTable:
    """A lexicon and facts of its words.

    Args:
        static: Vectors of words, None for none.
        learn: ``(lexicon, begin)`` -> arrays over the words from row ``begin`` on, each of shape (words, ...).

    Attributes:
        facts: Those arrays over all words read so far.
    """

    def __init__(self, static: StaticVectors | None, learn: Callable[[Lexicon, int], Facts]) -> None:
        self._static, self._learn = static, learn
        self._begin()

    def _begin(self) -> None:
        self.lexicon, self._known = Lexicon(self._static), 0
        self.facts: Facts = ()

    def read(self, texts: Sequence[str]) -> Passages:
        """The words of ``texts``; ``facts`` then covers them."""
        if self._known > MOST_WORDS:
            self._begin()
        found = self.lexicon.read(texts)
        if self._known < len(self.lexicon.index.words):
            new = self._learn(self.lexicon, self._known)
            self.facts = tuple(map(np.concatenate, zip(self.facts, new, strict=True))) if self.facts else new
            self._known = len(self.lexicon.index.words)
        return found
