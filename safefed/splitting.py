"""Splitting rows into those to fit on and those to measure on, so that no text stands on both sides.

Rows are tied by the words of their texts (equal, or nearly: ``safefed.overlap``) and by groups that the caller names.
Whatever is tied, also through others, goes to one side.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safefed.errors import DataError
from safefed.overlap import Index, Words, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_EACH = 2
"""Rows of either kind that each side must have."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows are fitted on and which are held out.

    Attributes:
        fit: Indices of the rows to fit on, ascending.
        held_out: Indices of all others.
        groups: The group of every row (n,); rows of one group are on one side.
        n_exact: Rows that repeat an earlier one word for word.
        n_near: Distinct texts that nearly repeat another.
        n_shared: Held-out rows that repeat, or nearly repeat, a row to fit on: 0.
    """

    fit: Sequence[int]
    held_out: Sequence[int]
    groups: NDArray[np.int64]
    n_exact: int
    n_near: int
    n_shared: int

    def facts(self) -> dict[str, int]:
        """The numbers worth recording."""
        sizes = Counter(self.groups.tolist())
        return {
            "fit": len(self.fit),
            "held_out": len(self.held_out),
            "groups": len(sizes),
            "largest_group": max(sizes.values()),
            "exact": self.n_exact,
            "near": self.n_near,
            "shared": self.n_shared,
        }


def split_rows(
    texts: Sequence[str],
    unsafe: Sequence[bool],
    *,
    held_out: float = 0.2,
    together: Sequence[Hashable | None] = (),
    seed: int = 0,
) -> Split:
    """Hold out about a share of the rows, by whole groups and of both kinds alike.

    Groups are drawn at random; each is held out if that brings the held-out part closer to the wanted number of safe
    and of unsafe rows. So a group over twice that size is always fitted on.

    Args:
        texts: What must not stand on both sides, one text per row.
        unsafe: The rows' labels.
        held_out: The share to hold out.
        together: Rows of one value (a document, a question) stay together; None or (): of none.
        seed: Of the draw.

    Raises:
        DataError: a side would have fewer than two rows of either kind.
    """
    import numpy as np

    found = [words(text) for text in texts]
    ties, exact = _Ties(len(texts)), set()
    for first, row in _equals([own or text for own, text in zip(found, texts, strict=True)]):
        ties.tie(first, row)
        exact.add(row)
    n_near = _tie_near(texts, found, exact, ties)
    for first, row in _equals(together):
        ties.tie(first, row)
    groups, bad = ties.groups(), np.asarray(unsafe, dtype=bool)
    out = _draw(groups, bad, held_out, seed)
    _check(groups, bad, out, held_out)
    fit, rest = np.flatnonzero(~out).tolist(), np.flatnonzero(out).tolist()
    n_shared = n_repeating([texts[i] for i in fit], [texts[i] for i in rest])
    return Split(fit, rest, groups, len(exact), n_near, n_shared)


def n_repeating(known: Iterable[str], texts: Iterable[str]) -> int:
    """How many of ``texts`` repeat one of ``known``, word for word or nearly."""
    return len({repeat.row for repeat in Index(known).find(texts)})


def _equals(keys: Sequence[Hashable | None]) -> Iterator[tuple[int, int]]:
    """Each row that is equal to an earlier one, with the first of them."""
    first: dict[Hashable, int] = {}
    for row, key in enumerate(keys):
        if key is not None and first.setdefault(key, row) != row:
            yield first[key], row


def _tie_near(texts: Sequence[str], found: Sequence[Words], repeated: Container[int], ties: _Ties) -> int:
    """Tie the texts that nearly repeat each other, but for rows that are ``repeated``; returns how many they are."""
    rows = [row for row, own in enumerate(found) if own and row not in repeated]
    index, tied = Index(texts[row] for row in rows), _Ties(len(rows))
    for number, row in enumerate(rows):
        for other in index.near(found[row], skip=functools.partial(tied.same, number)):
            tied.tie(number, other)
            ties.tie(row, rows[other])
    sizes = Counter(tied.groups().tolist())
    return sum(size for size in sizes.values() if size > 1)


class _Ties:
    """Which of n things belong together, directly or through others (union-find)."""

    def __init__(self, n: int) -> None:
        self._up = list(range(n))

    def _top(self, i: int) -> int:
        while self._up[i] != i:
            self._up[i] = i = self._up[self._up[i]]
        return i

    def tie(self, one: int, other: int) -> None:
        self._up[self._top(one)] = self._top(other)

    def same(self, one: int, other: int) -> bool:
        return self._top(one) == self._top(other)

    def groups(self) -> NDArray[np.int64]:
        """The number of each thing's group (n,)."""
        import numpy as np

        tops = [self._top(i) for i in range(len(self._up))]
        return np.asarray(np.unique(tops, return_inverse=True)[1], dtype=np.int64)


def _draw(groups: Any, unsafe: Any, share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out."""
    import numpy as np

    n = int(groups.max(initial=-1)) + 1
    sizes = np.stack([np.bincount(groups, kind, n) for kind in (~unsafe, unsafe)], axis=1)
    wanted = np.maximum(np.rint(share * sizes.sum(axis=0)), 1)
    missing, taken = np.ones(2), np.zeros(n, dtype=bool)
    for group in np.random.default_rng(seed).permutation(n):
        left = missing - sizes[group] / wanted
        if (left**2).sum() < (missing**2).sum():
            missing, taken[group] = left, True
    return np.asarray(taken[groups])


def _check(groups: Any, unsafe: Any, out: Any, share: float) -> None:
    sides = [int((unsafe[side] == kind).sum()) for side in (~out, out) for kind in (False, True)]
    if min(sides) < FEWEST_EACH:
        raise DataError(
            f"{len(out)} rows hang together in {len(set(groups.tolist()))} groups (equal or nearly equal prompts, and "
            f"--group), of which a share of {share:g} cannot be held out with {FEWEST_EACH} safe and {FEWEST_EACH} "
            f"unsafe rows on each side; give another --held-out, a finer --group, or rows with more different prompts"
        )
