"""Work once per distinct item, in batches of about equal work: sorted by length, so that little is padding."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)
Row = TypeVar("Row")
Result = TypeVar("Result")


def each_once(items: Sequence[Item], work: Callable[[list[Item]], Sequence[Result]]) -> list[Result]:
    """``work`` on the distinct items, given back to each of ``items`` in order."""
    distinct = list(dict.fromkeys(items))
    found = dict(zip(distinct, work(distinct), strict=True))
    return [found[item] for item in items]


def in_batches(
    rows: Sequence[Row],
    lengths: Sequence[int],
    budget: int,
    work: Callable[[list[Row]], Sequence[Result]],
    *,
    equal: bool = False,
) -> list[Result]:
    """``work`` on every row, in ``batches``; one result per row, in order."""
    found: dict[int, Result] = {}
    for batch in batches(lengths, budget, equal=equal):
        found.update(zip(batch, work([rows[i] for i in batch]), strict=True))
    return [found[i] for i in range(len(rows))]


def batches(lengths: Sequence[int], budget: int, *, equal: bool = False) -> Iterator[list[int]]:
    """Every index once, longest first, in batches whose padded size (rows x longest) is at most ``budget``.

    Args:
        lengths: Tokens of each row. Equal lengths keep their order, so equal input gives equal batches.
        budget: Tokens of a batch, padding included; a longer row is a batch of its own.
        equal: Whether only rows of one length share a batch, for what cannot do with padding.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batch[0]] if batch else lengths[index]
        if batch and ((len(batch) + 1) * longest > budget or (equal and lengths[index] != longest)):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
