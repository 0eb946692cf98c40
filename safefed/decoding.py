"""Greedy continuation of many prompts: rows leave as they end, others take their place, prefixes are read once.

Imports torch and transformers: import it where a model is at hand.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

from safefed.caches import Pairs, Part, cut, pairs, stacked
from safefed.padding import Limits, most_rows, padded
from safefed.prefixes import SHORTEST, Prefixes, Tokens, n_common

ROOM = 64
"""Free columns of a cache, for the tokens to come; when they are full, it is copied into a larger one."""

_NEEDED = {"input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}


def is_plain(model: Any) -> bool:
    """Whether the model's state is keys and values by position and nothing else, so that ``Decoding`` gives its text.

    Told from its class and configuration: layers of full or sliding attention, arguments as most models take them,
    positions that do not depend on how long the text becomes. Not so: recurrent and chunked layers, keys shared
    between layers, ALiBi, models that prepare their own inputs.
    """
    kind: Any = type(model)
    if not issubclass(kind, GenerationMixin) or not kind._supports_default_dynamic_cache():
        return False
    config = model.config.get_text_config(decoder=True)
    layers = {type(layer) for layer in DynamicCache(config=config).layers}
    return (
        layers <= {DynamicLayer, DynamicSlidingWindowLayer}
        and inspect.signature(model.forward).parameters.keys() >= _NEEDED
        and kind.prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
        and not model.config.is_encoder_decoder
        and getattr(config, "is_causal", True)
        and not getattr(config, "num_kv_shared_layers", 0)
        and "chunked_attention" not in (getattr(config, "layer_types", None) or ())
        and not {"dynamic", "longrope"} & set(_rope_types(getattr(config, "rope_parameters", None) or {}))
    )


def _rope_types(parameters: Mapping[str, Any]) -> Iterator[str]:
    yield str(parameters.get("rope_type"))
    for part in parameters.values():
        if isinstance(part, Mapping):
            yield from _rope_types(part)


class Decoding:
    """The work on one list of prompts.

    Prompts are taken longest first, so that one that joins is no longer than the columns in use. In a batch all rows
    end in the same column; when a quarter of them has its answer, the others are copied together and prompts that wait
    join them. Of a prompt only what is not in ``kept`` is read.

    Args:
        model: ``is_plain``, in eval mode, or a PeftModel around such a model.
        prompts: Tokens, at least one each.
        limits: Of answers and batches.
        kept: Prompts already read under the same weights.
        keep: Whether ``kept`` is to remember these as well; what they all begin with it always does.

    Attributes:
        n_read: Prompt tokens that went through the model.
    """

    def __init__(self, model: Any, prompts: Sequence[Tokens], limits: Limits, *, kept: Prefixes, keep: bool) -> None:
        self._model, self._prompts, self._limits, self._kept, self._keep = model, prompts, limits, kept, keep
        self._ends = frozenset(limits.ends)
        self._waiting = deque(sorted(range(len(prompts)), key=lambda i: -len(prompts[i])))
        self._answers: list[list[int]] = [[] for _ in prompts]
        self._rows: list[int] = []
        self._cache: Cache = DynamicCache()
        self._filled = 0
        self._last = max(map(len, prompts), default=0) + limits.max_new_tokens - 1
        self.n_read = 0

    def parts(self) -> Iterator[dict[int, list[int]]]:
        """The continuation of each prompt by its position, end token included, soon after it has ended."""
        self._read_header()
        while self._waiting or any(map(self._is_live, self._rows)):
            self._regroup()
            while 4 * sum(map(self._is_live, self._rows)) > 3 * len(self._rows) and self._filled < self._mask.shape[1]:
                self._step()
            yield {row: self._answers[row] for row in self._rows if not self._is_live(row)}

    def _is_live(self, row: int) -> bool:
        answer = self._answers[row]
        return len(answer) < self._limits.max_new_tokens and answer[-1] not in self._ends

    def _length(self, row: int) -> int:
        """Columns in use: all but the newest token, which the model has not read."""
        return len(self._prompts[row]) + max(0, len(self._answers[row]) - 1)

    def _step(self) -> None:
        """One token more for every row; those that have ended take part in vain."""
        self._filled += 1
        last = torch.tensor([[self._answers[row][-1]] for row in self._rows], device=self._mask.device)
        found = self._forward(last, self._mask[:, : self._filled], self._cache)
        for row, token in zip(self._rows, found, strict=True):
            if self._is_live(row):
                self._answers[row].append(token)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Cache) -> list[int]:
        """The likeliest next token of each row; ``mask`` is (rows, columns with these), True from a row's first."""
        positions = mask.sum(1, keepdim=True) - ids.shape[1] + torch.arange(ids.shape[1], device=ids.device)
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions.clamp(0, self._last),  # padding has none, and a row that has ended goes too far
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens: list[int] = out.logits[:, -1].argmax(-1).tolist()
        return tokens

    def _regroup(self) -> None:
        """Rows that go on and rows that join, in one cache as wide as its longest."""
        live = [place for place, row in enumerate(self._rows) if self._is_live(row)]
        staying = [self._rows[place] for place in live]
        groups = list(self._read(self._joining(staying)))
        rows = [*staying, *(row for group, _ in groups for row in group)]
        parts = [Part(len(group), held) for group, held in groups]
        if staying:
            longest = max(map(self._length, staying))
            parts.insert(0, Part(len(live), cut(pairs(self._cache), live, slice(self._filled - longest, None))))
        self._filled = max(map(self._length, rows))
        room = min(ROOM, self._limits.max_new_tokens)
        self._cache = stacked(parts, self._filled, room)
        self._rows, self._mask = rows, self._seen(map(self._length, rows), self._filled, room)

    def _seen(self, lengths: Any, width: int, room: int = 0) -> torch.Tensor:
        starts = torch.tensor([[width - length] for length in lengths], device=self._model.device)
        return torch.arange(width + room, device=starts.device) >= starts

    def _joining(self, staying: Sequence[int]) -> list[int]:
        if not self._waiting:
            return []
        longest = max([len(self._prompts[self._waiting[0]]), *map(self._length, staying)])
        free = most_rows(longest, self._limits.batch_size) - len(staying)
        return [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]

    def _header(self) -> Tokens:
        if len(self._prompts) < 2:
            return ()
        first, last = min(self._prompts), max(self._prompts)  # in sorted order; the others begin with what both do
        return first[: n_common(first, last)]

    def _read_header(self) -> None:
        """Read once what all prompts begin with."""
        header = self._header()
        if len(header) >= SHORTEST and self._kept.longest((*header, self._limits.pad))[0] < len(header):
            ids = torch.tensor([header], device=self._model.device)
            cache = DynamicCache()
            self._forward(ids, torch.ones_like(ids, dtype=torch.bool), cache)
            self._kept.keep(header, pairs(cache))
            self.n_read += len(header)

    def _read(self, rows: Sequence[int]) -> Iterator[tuple[list[int], Pairs]]:
        """Prompts with their first answer token in place, those together of which about as much is to be read."""
        known = {row: self._kept.longest(self._prompts[row]) for row in rows}
        unread = {row: len(self._prompts[row]) - known[row][0] for row in rows}
        order = deque(sorted(rows, key=lambda row: -unread[row]))
        while order:
            most, group = unread[order[0]], [order.popleft()]
            while order and 4 * unread[order[0]] > 3 * most:
                group.append(order.popleft())
            yield group, self._read_together(group, [known[row][1] for row in group], most)

    def _read_together(self, group: Sequence[int], known: Sequence[Pairs], n: int) -> Pairs:
        """Read the last ``n`` tokens of each prompt, shorter prompts whole."""
        prompts = [self._prompts[row] for row in group]
        width = max(map(len, prompts))
        before = [max(0, len(prompt) - n) for prompt in prompts]
        parts = [Part(1, cut(held, slice(None), slice(0, k))) for held, k in zip(known, before, strict=True)]
        cache = stacked(parts, width - n, n) if any(before) else DynamicCache()
        ids, _ = padded([prompt[-n:] for prompt in prompts], self._limits.pad, self._model.device)
        for row, token in zip(group, self._forward(ids, self._seen(map(len, prompts), width), cache), strict=True):
            self._answers[row].append(token)
        self.n_read += sum(min(n, len(prompt)) for prompt in prompts)
        held = pairs(cache)
        for place, (prompt, k) in enumerate(zip(prompts, before, strict=True)):
            if self._keep and 2 * k <= len(prompt):
                self._kept.keep(prompt, cut(held, slice(place, place + 1), slice(width - len(prompt), None)))
        return held
