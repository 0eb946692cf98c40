"""The hashes of many words and of their character n-grams at once.

They are those of scikit-learn's ``HashingVectorizer`` (analyzer "char_wb", binary, ``alternate_sign`` False), whose
import alone takes 1.5 s and 150 MB in every process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Hashes = NDArray[np.uint32]

LENGTHS = (3, 4, 5)
"""Characters of an n-gram; the blanks before and after a word count."""

_SPACE = ord(" ")


def word_hashes(words: Sequence[str]) -> Hashes:
    """MurmurHash3 of the UTF-8 of each word, shape (words,)."""
    raw, blanks = _spaced(words)
    return murmur3(raw, blanks[:-1] + 1, blanks[1:])


def character_columns(words: Sequence[str], columns: int) -> tuple[Ints, Ints]:
    """The distinct hashed character n-grams of each word.

    Args:
        words: Without blanks in them.
        columns: How many features there are.

    Returns:
        The word and the feature of each n-gram, each shape (n-grams,), in ascending order.
    """
    raw, _ = _spaced(words)
    starts = np.append(np.flatnonzero((raw & 0xC0) != 0x80), len(raw))  # bytes of UTF-8 that begin a character
    blanks = np.flatnonzero(raw[starts[:-1]] == _SPACE)
    word = np.repeat(np.arange(len(words)), np.diff(blanks))
    left = blanks[1:][word] - np.arange(len(word))
    found = []
    for length in LENGTHS:
        begin = np.flatnonzero(left >= length - 1)
        hashes = murmur3(raw, starts[begin], starts[begin + length]).view(np.int32).astype(np.int64)
        found.append(word[begin] * columns + np.abs(hashes) % columns)
    return np.divmod(distinct(np.sort(np.concatenate(found))), columns)


def distinct(values: Ints) -> Ints:
    """``values``, which are sorted and not negative, each once; 80 times as fast as ``np.unique`` of numpy 2.4."""
    return values[np.diff(values, prepend=-1) > 0]


def murmur3(raw: NDArray[np.uint8], begin: Ints, end: Ints) -> Hashes:
    """MurmurHash3 (x86, 32 bits, seed 0; Appleby 2011, public domain) of the bytes from ``begin`` to ``end``.

    Args:
        raw: All bytes.
        begin: Shape (hashes,).
        end: Shape (hashes,).
    """
    padded = np.concatenate([raw, np.zeros(4, dtype=np.uint8)]).astype(np.uint32)
    one, two, three = map(np.uint32, (8, 16, 24))
    four = padded[:-3] | padded[1:-2] << one | padded[2:-1] << two | padded[3:] << three
    length, state = end - begin, np.zeros(len(begin), dtype=np.uint32)
    for block in range(int(length.max(initial=0)) // 4):
        rows = np.flatnonzero(length >= 4 * block + 4)
        state[rows] = _rotated(state[rows] ^ _scrambled(four[begin[rows] + 4 * block]), 13) * 5 + np.uint32(0xE6546B64)
    rest = (length % 4).astype(np.uint32)
    state ^= _scrambled(four[end - rest] & (np.uint32(1) << np.uint32(8) * rest) - np.uint32(1))
    state ^= length.astype(np.uint32)
    state = (state ^ state >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    state = (state ^ state >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return np.asarray(state ^ state >> 16)


def _spaced(words: Sequence[str]) -> tuple[NDArray[np.uint8], Ints]:
    """The UTF-8 of the words with a blank before and after each, and where the blanks are, shape (words + 1,)."""
    raw = np.frombuffer("".join([" ", *[f"{word} " for word in words]]).encode(), dtype=np.uint8)
    return raw, np.flatnonzero(raw == _SPACE)


def _scrambled(block: Hashes) -> Hashes:
    return np.asarray(_rotated(block * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593))


def _rotated(values: Hashes, bits: int) -> Hashes:
    return np.asarray(values << bits | values >> 32 - bits)
