"""Keys and values of rows that all end in the same column; what is left of a shorter row is padding.

Imports torch and transformers: import it where a model is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, DynamicLayer

Pairs = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of every layer, each (rows, heads, columns, width of a head)."""


class Part(NamedTuple):
    """Some rows of a batch; ``pairs`` is [] where nothing is known of them yet."""

    rows: int
    pairs: Pairs


class RoomyLayer(DynamicLayer):
    """A cache layer with free columns that are written in place.

    transformers' DynamicLayer copies all that it holds at every token: two thirds of the embedded model's time.

    Args:
        keys: (rows, heads, columns, width), of which the first ``filled`` columns are in use.
        values: Likewise.
        filled: Columns in use.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, filled: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stores, self._filled = (keys, values), filled
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values = self._views()

    def _views(self) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self._stores
        return keys[:, :, : self._filled], values[:, :, : self._filled]

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self._filled

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next columns; returns all that are in use."""
        start = self._filled
        self._filled += key_states.shape[-2]
        for store, states in zip(self._stores, (key_states, value_states), strict=True):
            store[:, :, start : self._filled] = states
        self.keys, self.values = views = self._views()
        return views


def pairs(cache: Cache) -> Pairs:
    """What ``cache``, of layers of attention alone, holds; not copied."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def cut(held: Pairs, rows: slice, columns: slice | torch.Tensor) -> Pairs:
    """Some rows and columns; a view if ``columns`` is a slice."""
    return [(keys[rows, :, columns], values[rows, :, columns]) for keys, values in held]


def copied(held: Pairs) -> Pairs:
    """A copy, so that the batch it was cut from can go."""
    return [(keys.clone(), values.clone()) for keys, values in held]


def size(held: Pairs) -> int:
    """Bytes."""
    return sum(tensor.nbytes for pair in held for tensor in pair)


def stacked(parts: Sequence[Part], width: int, room: int) -> Cache:
    """A cache of the parts' rows below each other.

    Args:
        parts: Their columns, at most ``width``, are to end at column ``width``; one of them at least holds something.
        width: Columns in use.
        room: Free columns after them.
    """
    n_layers = max(len(part.pairs) for part in parts)
    stores = [[_store(parts, layer, which, width, room) for which in (0, 1)] for layer in range(n_layers)]
    return Cache(layers=[RoomyLayer(keys, values, width) for keys, values in stores])


def _store(parts: Sequence[Part], layer: int, which: int, width: int, room: int) -> torch.Tensor:
    like = next(part.pairs[layer][which] for part in parts if part.pairs)
    store = like.new_empty(sum(part.rows for part in parts), like.shape[1], width + room, like.shape[3])
    start = 0
    for rows, held in parts:
        gap = width - (held[layer][which].shape[2] if held else 0)
        store[start : start + rows, :, :gap] = 0  # no NaN: masked values still count, times nought
        if held:
            store[start : start + rows, :, gap:width] = held[layer][which]
        start += rows
    return store
