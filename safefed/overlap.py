"""Which texts repeat which: the same words, half of the word 5-grams in common, or nearly the same meaning.

Longer n-grams are blind here: 59 % of AdvBench's prompts have fewer than 13 words. A paraphrase that shares no five
words in a row is only found with a sentence encoder.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    Encode = Callable[[Sequence[str]], "np.ndarray"]

GRAM = 5
JACCARD = 0.5
COSINE = 0.9
_CHUNK = 1024
Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Text number ``row`` repeats text number ``of`` of the index: word for word, nearly, or in meaning."""

    row: int
    of: int
    kind: Literal["exact", "5-gram", "cosine"]


def words(text: str) -> Words:
    """The words of ``text`` without case, punctuation and compatibility forms: equal words count as one prompt."""
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def grams(text: Words) -> frozenset[Words]:
    """The set of word 5-grams; a shorter text is one gram."""
    size = min(GRAM, len(text))
    return frozenset(text[i : i + size] for i in range(len(text) - size + 1)) if size else frozenset()


def _jaccard(one: frozenset[Words], other: frozenset[Words]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class Index:
    """Texts that others must not repeat.

    Args:
        texts: What to keep clear of.
        encode: A sentence encoder, texts -> float array (texts, dimensions) of unit rows. None compares words only.
    """

    def __init__(self, texts: Iterable[str], encode: Encode | None = None) -> None:
        texts = list(texts)
        found = [words(text) for text in texts]
        self._exact = {own: number for number, own in enumerate(found) if own}
        self._grams = [grams(own) for own in found]
        self._holders: dict[Words, list[int]] = defaultdict(list)
        for number in sorted(range(len(texts)), key=lambda number: len(self._grams[number])):
            for gram in self._grams[number]:
                self._holders[gram].append(number)  # the texts with few grams first, for ``near``
        self._encode = encode
        self._vectors = encode(texts) if encode and texts else None

    def find(self, texts: Iterable[str]) -> Iterator[Repeat]:
        """Every repetition in ``texts``, which may be a stream; a text in equal words is named once."""
        rows = iter(enumerate(texts))
        while chunk := list(itertools.islice(rows, _CHUNK)):
            for row, text in chunk:
                yield from self._by_words(row, words(text))
            yield from self._by_meaning(chunk)

    def _by_words(self, row: int, own: Words) -> Iterator[Repeat]:
        if own in self._exact:
            yield Repeat(row, self._exact[own], "exact")
            return
        for number in self.near(own):
            yield Repeat(row, number, "5-gram")

    def near(self, own: Words, skip: Callable[[int], bool] = lambda _number: False) -> list[int]:
        """The numbers of the texts that have half of their 5-grams and those of ``own`` in common, equal ones included.

        Args:
            own: The words of any text.
            skip: Of these numbers it is known already, or does not matter.
        """
        mine = grams(own)
        candidates: set[int] = set()
        # A text whose rarest common gram is the n-th rarest shares none of those before, so it can only be so large.
        for place, gram in enumerate(sorted(mine, key=lambda gram: len(self._holders.get(gram, ())))):
            largest = (len(mine) - place) * (1 + JACCARD) / JACCARD - len(mine)
            if largest < JACCARD * len(mine):
                break
            held = self._holders.get(gram, [])
            candidates.update(held[: bisect_right(held, largest, key=lambda number: len(self._grams[number]))])
        return [n for n in sorted(candidates) if not skip(n) and _jaccard(mine, self._grams[n]) >= JACCARD]

    def _by_meaning(self, chunk: Sequence[tuple[int, str]]) -> Iterator[Repeat]:
        if self._encode is None or self._vectors is None:
            return
        cosines = self._encode([text for _, text in chunk]) @ self._vectors.T
        for (row, _), best, cosine in zip(chunk, cosines.argmax(1), cosines.max(1), strict=True):
            if cosine >= COSINE:
                yield Repeat(row, int(best), "cosine")
