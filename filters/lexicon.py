"""Texts as sums over their words: each distinct word is vectorised once, and every passage costs two subtractions.

A passage with n words and c character n-grams has, under one head, the logit

    w . (words and pairs of words) / sqrt(n + 4) + v . (character n-grams) / sqrt(c + 4) + u . (mean static vector)

so running sums over the pieces of a text give the logit of each of its passages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.filters.hashing import character_columns, distinct, word_hashes
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

_NEXT, _BREAK = b"\xff", b"\xfe"
"""Stand between two texts and between two pieces; no UTF-8 holds them."""

_MARKS = bytes(c for c in range(128) if not (chr(c).isalnum() or chr(c) in "_ \n.!?"))
_FOLDED = bytes.maketrans(
    ascii_uppercase.encode() + b"!?" + _MARKS,
    ascii_lowercase.encode() + b".." + b"\t" * len(_MARKS),
)
"""Lower case, one mark for the end of a sentence, and white space that is not the blank which has to follow it."""

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


@dataclass(frozen=True, slots=True)
class Words:
    """Some words as heads see them.

    Attributes:
        hashes: MurmurHash3 of each, shape (words,).
        owner: The word of each of their distinct character n-grams, shape (n-grams,).
        character: The n-gram's feature, less than CHARACTERS, shape (n-grams,).
        static: Vector of each, shape (words, width of the static part).
    """

    hashes: NDArray[np.uint32]
    owner: Ints
    character: Ints
    static: NDArray[np.float32]

    @property
    def columns(self) -> Ints:
        """Feature of each word, shape (words,)."""
        return self.hashes.astype(np.int64) % WORDS


class Lexicon:
    """Every word seen so far.

    Args:
        static: Vectors of words; None leaves that part out (its width is 0).
    """

    def __init__(self, static: StaticVectors | None = None) -> None:
        self._static = static
        self.index = _Index()

    @property
    def width(self) -> int:
        """Length of a head: the n-grams and the static part."""
        return FEATURES + (self._static.width if self._static else 0)

    def read(self, texts: Sequence[str]) -> Passages:
        """The words of ``texts``; a text without a word has no piece."""
        found = _marked(texts).split()
        rows = np.fromiter(map(self.index.__getitem__, found), dtype=np.int64, count=len(found))
        is_word = rows > _LAST_BREAK
        before = running(is_word)
        bounds = np.concatenate([[0], before[:-1][rows == _INDEX_OF_NEXT], before[-1:]])[: len(texts) + 1]
        starts = _pieces(distinct(np.concatenate([[0], before[:-1][~is_word], before[-1:]])))
        return Passages(rows[is_word], starts, np.searchsorted(starts, bounds))

    def words(self, begin: int = 0) -> Words:
        """What is known of the words from row ``begin`` on."""
        words = self.index.words[begin:]
        static = self._static.vectors(words) if self._static else np.zeros((len(words), 0), dtype=np.float32)
        return Words(word_hashes(words), *character_columns(words, CHARACTERS), static)

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
        words, known = found.words[at], self.words()
        counts = _ones(owner, words, (n, len(known.hashes)))
        second = np.flatnonzero(~np.isin(at, found.starts))
        pairs = pair_columns(known.hashes[words[second - 1]], known.hashes[words[second]])
        both, columns = np.concatenate([owner, owner[second]]), np.concatenate([known.columns[words], pairs])
        left = _ones(both, columns, (n, WORDS + PAIRS))
        right = counts @ _ones(known.owner, known.character, (len(known.hashes), CHARACTERS))
        static = csr_matrix(diags(1 / np.maximum(lengths, 1)) @ (counts @ known.static))
        return csr_matrix(hstack([_damped(left), _damped(right), static]), dtype=np.float32)


class _Index(dict[bytes, int]):
    """word -> row; an unknown word gets the next one, and the marks between texts and pieces have the first two."""

    def __init__(self) -> None:
        super().__init__({_NEXT: _INDEX_OF_NEXT, _BREAK: _LAST_BREAK})
        self.words = ["", ""]

    def __missing__(self, raw: bytes) -> int:
        word = _REPEATED.sub(r"\1\1\1", raw.decode().lower())[:LONGEST_WORD]
        key = word.encode()
        if key != raw:
            return self[key]
        self[key] = len(self.words)
        self.words.append(word)
        return self[key]


_INDEX_OF_NEXT, _LAST_BREAK = 0, 1


def _marked(texts: Sequence[str]) -> bytes:
    """The words of ``texts`` and the marks between texts and pieces, with white space between."""
    plain = [text if text.isascii() else _PUNCTUATION.sub(" ", _LINES.sub("\n", visible(text))) for text in texts]
    folded = (b" %b " % _NEXT).join([text.encode() for text in plain]).translate(_FOLDED)
    return folded.replace(b". ", b" %b " % _BREAK).replace(b".", b" ").replace(b"\n", b" %b " % _BREAK)


def _pieces(starts: Ints) -> Ints:
    """Where pieces begin, after those of more than 64 words are cut."""
    long = np.flatnonzero(np.diff(starts) > LONGEST_PIECE)
    cuts = [np.arange(starts[i] + CUT, starts[i + 1], CUT) for i in long]
    return np.sort(np.concatenate([starts, *cuts])) if cuts else starts


def column_scales(words: float, characters: float, dense: float, width: int) -> Floats:
    """What words and pairs, characters, and dense features weigh beside each other in rows of ``width`` columns."""
    return np.repeat([words, characters, dense], [WORDS + PAIRS, CHARACTERS, width - FEATURES])


def _ones(rows: Ints, columns: Ints, shape: tuple[int, int]) -> csr_matrix:
    """How often each row and column stand together."""
    from scipy.sparse import csr_matrix

    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def _damped(counts: csr_matrix) -> csr_matrix:
    from scipy.sparse import diags

    return diags(1 / np.sqrt(np.asarray(counts.sum(axis=1)).ravel() + DAMPING)) @ counts


def pair_columns(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> Ints:
    """Feature of each pair of neighbouring words, given their hashes."""
    return ((left * _PAIR ^ (right + (right << np.uint32(7)))) % PAIRS).astype(np.int64) + WORDS


def running(values: Any) -> Ints:
    """Running sums with a leading 0."""
    return np.concatenate([[0], np.cumsum(values)]).astype(np.int64)
