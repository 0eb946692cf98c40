"""Texts as sums over their words: each distinct word is vectorised once, and every passage costs two subtractions.

A passage with n words and c character n-grams has, under one head, the logit

    w . (words and pairs of words) / sqrt(n + 4) + v . (character n-grams) / sqrt(c + 4) + u . (mean static vector)

so running sums over the pieces of a text give the logit of each of its passages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.windows import visible

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from safefed.filters.static import StaticVectors

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WORDS = CHARACTERS = 2**17
PAIRS = 2**18
FEATURES = WORDS + PAIRS + CHARACTERS
"""Columns of the n-gram part of a head: words, pairs of neighbouring words, character 3-5-grams, each hashed."""

DAMPING = 4.0

_NEXT, _BREAK = "\x02", "\x01"
"""Stand between two texts and between two pieces."""

_SPACED = {ord(c): " " for c in map(chr, range(128)) if not (c.isalnum() or c in "_\n" + _BREAK)}
_LINES = re.compile("[\x85\u2028\u2029\u3002]")
_PUNCTUATION = re.compile(r"[^\x00-\x7f\w]")
_REPEATED = re.compile(r"(.)\1{3,}")
LONGEST_WORD = 40
LONGEST_PIECE, CUT = 64, 8
"""A piece of more words is cut into pieces of 8."""

_PAIR = np.uint32(2654435761)


@dataclass(frozen=True, slots=True)
class Passages:
    """The words of some texts, piece by piece.

    Attributes:
        words: Row of each word in the lexicon, shape (words,).
        starts: First word of each piece, and the number of words, shape (pieces + 1,).
        first: First piece of each text, and the number of pieces, shape (texts + 1,).
    """

    words: Ints
    starts: Ints
    first: Ints


class Lexicon:
    """Every word seen so far: its hash, its character n-grams and its static vector.

    Args:
        static: Vectors of words; None leaves that part out (its width is 0).
    """

    def __init__(self, static: StaticVectors | None = None) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self._static = static
        self._characters = HashingVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), n_features=CHARACTERS, norm=None, alternate_sign=False,
            binary=True, lowercase=False, dtype=np.float32,
        )  # fmt: skip
        self.index = _Index()

    @property
    def width(self) -> int:
        """Length of a head: the n-grams and the static part."""
        return FEATURES + (self._static.width if self._static else 0)

    def read(self, texts: Sequence[str]) -> Passages:
        """The words of ``texts``; a text without a word has no piece."""
        found = f" {_NEXT} ".join(map(_spaced, texts)).split()
        rows = np.fromiter(map(self.index.__getitem__, found), dtype=np.int64, count=len(found))
        is_word = rows > _LAST_BREAK
        before = np.cumsum(is_word)
        bounds = np.concatenate([[0], before[rows == _INDEX_OF_NEXT], before[-1:]])[: len(texts) + 1]
        starts = _pieces(np.unique(np.concatenate([before[~is_word], bounds])))
        return Passages(rows[is_word], starts, np.searchsorted(starts, bounds))

    def table(self, heads: NDArray[Any], begin: int) -> tuple[Floats, Floats]:
        """What the words from row ``begin`` on add to each head.

        Args:
            heads: Shape (heads, width).
            begin: The first row wanted.

        Returns:
            Word, character and static dot products, shape (words, 3, heads), and the number of character n-grams of
            each word, shape (words,).
        """
        words = self.index.words[begin:]
        characters = self.character_rows(words)
        flat = heads.astype(np.float64)
        dots = np.zeros((len(words), 3, len(flat)))
        dots[:, 0] = flat[:, self.columns(begin)].T
        dots[:, 1] = characters @ flat[:, WORDS + PAIRS : FEATURES].T
        if self._static:
            dots[:, 2] = self._static.vectors(words) @ flat[:, FEATURES:].T
        return dots, np.asarray(characters.sum(axis=1), dtype=np.float64).ravel()

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """Each text as one passage, shape (texts, width): what heads are fitted on."""
        found = self.read(texts)
        return self.passage_rows(found, found.first[:-1], found.first[1:])

    def passage_rows(self, found: Passages, begin: Ints, end: Ints) -> csr_matrix:
        """The pieces from ``begin`` to ``end`` as one passage each, shape (passages, width)."""
        from scipy.sparse import csr_matrix, diags, hstack

        n = len(begin)
        lengths = found.starts[end] - found.starts[begin]
        owner = np.repeat(np.arange(n), lengths)
        at = np.arange(len(owner)) + np.repeat(found.starts[begin] - running(lengths)[:-1], lengths)
        words, hashes = found.words[at], self.hashes()
        counts = csr_matrix((np.ones(len(owner)), (owner, words)), shape=(n, len(self.index.words)))
        second = np.flatnonzero(~np.isin(at, found.starts))
        pairs = pair_columns(hashes[words[second - 1]], hashes[words[second]])
        both, columns = np.concatenate([owner, owner[second]]), np.concatenate([self.columns()[words], pairs])
        left = csr_matrix((np.ones(len(both)), (both, columns)), shape=(n, WORDS + PAIRS))
        right = counts @ self.character_rows(self.index.words)
        static = csr_matrix(diags(1 / np.maximum(lengths, 1)) @ (counts @ self.static_rows(self.index.words)))
        return csr_matrix(hstack([_damped(left), _damped(right), static]), dtype=np.float32)

    def columns(self, begin: int = 0) -> Ints:
        """Feature of each word from row ``begin`` on."""
        return self.hashes(begin).astype(np.int64) % WORDS

    def hashes(self, begin: int = 0) -> NDArray[np.uint32]:
        """32 bits for each word from row ``begin`` on (MurmurHash3)."""
        return np.array(self.index.hashes[begin:], dtype=np.uint32)

    def character_rows(self, words: Sequence[str]) -> csr_matrix:
        """Distinct character n-grams of each word, shape (words, CHARACTERS)."""
        return self._characters.transform(words)

    def static_rows(self, words: Sequence[str]) -> NDArray[np.float32]:
        """The static vector of each word, shape (words, width of the static part)."""
        return self._static.vectors(words) if self._static else np.zeros((len(words), 0), dtype=np.float32)


class _Index(dict[str, int]):
    """word -> row; an unknown word gets the next one, and the marks between texts and pieces have the first two."""

    def __init__(self) -> None:
        from sklearn.utils import murmurhash3_32

        super().__init__({_NEXT: _INDEX_OF_NEXT, _BREAK: _LAST_BREAK})
        self._hash = murmurhash3_32
        self.words = [_NEXT, _BREAK]
        self.hashes = [self._hash(word, positive=True) for word in self.words]

    def __missing__(self, word: str) -> int:
        short = _REPEATED.sub(r"\1\1\1", word)[:LONGEST_WORD]
        if short != word:
            return self[short]
        self[word] = len(self.words)
        self.words.append(word)
        self.hashes.append(self._hash(word, positive=True))
        return self[word]


_INDEX_OF_NEXT, _LAST_BREAK = 0, 1


def _spaced(text: str) -> str:
    """The words of ``text`` and the marks between its pieces, in lower case, with blanks between."""
    if not text.isascii():
        text = _PUNCTUATION.sub(" ", _LINES.sub("\n", visible(text)))
    text = text.replace(_BREAK, " ")
    for end in (". ", "! ", "? "):
        text = text.replace(end, f" {_BREAK} ")
    return text.translate(_SPACED).replace("\n", f" {_BREAK} ").lower()


def _pieces(starts: Ints) -> Ints:
    """Where pieces begin, after those of more than 64 words are cut."""
    long = np.flatnonzero(np.diff(starts) > LONGEST_PIECE)
    cuts = [np.arange(starts[i] + CUT, starts[i + 1], CUT) for i in long]
    return np.sort(np.concatenate([starts, *cuts])) if cuts else starts


def _damped(counts: csr_matrix) -> csr_matrix:
    from scipy.sparse import diags

    return diags(1 / np.sqrt(np.asarray(counts.sum(axis=1)).ravel() + DAMPING)) @ counts


def pair_columns(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> Ints:
    """Feature of each pair of neighbouring words, given their hashes."""
    return ((left * _PAIR ^ (right + (right << np.uint32(7)))) % PAIRS).astype(np.int64) + WORDS


def running(values: Any) -> Ints:
    """Running sums with a leading 0."""
    return np.concatenate([[0], np.cumsum(values)]).astype(np.int64)
