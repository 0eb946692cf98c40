"""Length-bucketed batches in an order that depends on the seed and the step alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

NOWHERE = -1


class Row(NamedTuple):
    """Token ids, 1 where the model learns to say them (at the end), and the line of its request in the meanings."""

    ids: list[int]
    mask: list[int]
    meaning: int = NOWHERE

    @property
    def asked(self) -> int:
        """Position of the last token before the answer."""
        return self.mask.count(0) - 1


class Batch(NamedTuple):
    """Right-padded ids and mask of the tokens to learn, each (rows, longest).

    Of each row, (rows): the line of its meaning, and the last position before the answer.
    """

    ids: torch.Tensor
    learn: torch.Tensor
    meanings: torch.Tensor
    asked: torch.Tensor


def epoch(rows: Sequence[Row], budget: int, seed: int, number: int) -> list[list[int]]:
    """Row indices in batches of at most ``budget`` padded tokens (at least one row), shuffled."""
    rng = random.Random(f"{seed}:{number}")  # noqa: S311  # not for secrets
    order = list(range(len(rows)))
    rng.shuffle(order)
    order.sort(key=lambda index: len(rows[index].ids) // 8)
    batches: list[list[int]] = [[]]
    for index in order:
        if batches[-1] and len(rows[index].ids) * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(index)
    rng.shuffle(batches)
    return batches


def stream(rows: Sequence[Row], budget: int, seed: int, skip: int, rank: int = 0, of: int = 1) -> Iterator[list[int]]:
    """Batches without end for process ``rank`` of ``of``; each of the first ``skip`` steps took ``of`` batches."""
    number, position = 0, 0
    while True:
        for batch in epoch(rows, budget, seed, number):
            if position >= skip * of and position % of == rank:
                yield batch
            position += 1
        number += 1


def tensors(rows: Sequence[Row], batch: Sequence[int], pad: int) -> Batch:
    """The rows numbered in ``batch``, padded with ``pad``."""
    import torch

    chosen = [rows[index] for index in batch]
    longest = max(len(row.ids) for row in chosen)
    ids = torch.full((len(chosen), longest), pad)
    learn = torch.zeros((len(chosen), longest), dtype=torch.bool)
    for line, row in enumerate(chosen):
        ids[line, : len(row.ids)] = torch.tensor(row.ids)
        learn[line, : len(row.mask)] = torch.tensor(row.mask, dtype=torch.bool)
    return Batch(ids, learn, torch.tensor([row.meaning for row in chosen]), torch.tensor([row.asked for row in chosen]))
