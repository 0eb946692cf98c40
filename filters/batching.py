"""Batches of about equal work: sorted by length, so that little is padding, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Every index once, longest first, in batches whose padded size (rows x longest) is at most ``budget``.

    Args:
        lengths: Tokens of each row. Equal lengths keep their order, so equal input gives equal batches.
        budget: Tokens of a batch, padding included; a longer row is a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
