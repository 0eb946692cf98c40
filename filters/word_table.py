"""What is known of each distinct word, worked out once and remembered from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.lexicon import Lexicon, Passages, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.filters.static import StaticVectors

    Facts = Sequence[NDArray[Any]]
    Learn = Callable[[Words], Facts]

MOST_WORDS = 200_000
"""Distinct words that are remembered; then the table is begun anew, so that memory does not grow with the rows."""


class WordTable:
    """A lexicon and what each of its readers remembers of its words.

    Args:
        static: Vectors of words, None for none.

    Attributes:
        facts: What each function given to ``remember`` found, of all words read so far; there is room at the end.
    """

    def __init__(self, static: StaticVectors | None) -> None:
        self._static = static
        self.facts: dict[Learn, Facts] = {}
        self._begin()

    def _begin(self) -> None:
        self.lexicon = Lexicon(self._static)
        self._known = len(self.lexicon.index.words)
        for learn in self.facts:
            self.remember(learn)

    def remember(self, learn: Learn) -> None:
        """Remember ``learn(words)``: arrays of shape (words, ...)."""
        self.facts[learn] = learn(self.lexicon.words())

    def read(self, texts: Sequence[str]) -> Passages:
        """The words of ``texts``; what is remembered then covers them."""
        if self._known > MOST_WORDS:
            self._begin()
        found = self.lexicon.read(texts)
        if self._known < len(self.lexicon.index.words):
            new = self.lexicon.words(self._known)
            for learn, facts in self.facts.items():
                pairs = zip(facts, learn(new), strict=True)
                self.facts[learn] = [_extended(known, self._known, rows) for known, rows in pairs]
            self._known = len(self.lexicon.index.words)
        return found


def _extended(known: NDArray[Any], n: int, new: NDArray[Any]) -> NDArray[Any]:
    """The first ``n`` rows of ``known``, then ``new``; there is room for as many again when there was too little."""
    if len(known) < n + len(new):
        room = np.empty((2 * (n + len(new)), *new.shape[1:]), dtype=new.dtype)
        room[:n] = known[:n]
        known = room
    known[n : n + len(new)] = new
    return known
