"""Greedy continuation of many prompts: rows leave as they end, others join, prefixes are read once, tokens guessed.

Imports torch and transformers: import it where a model is at hand.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

from safefed.caches import Pairs, Part, cut, pairs, stacked
from safefed.drafts import Drafts
from safefed.padding import Limits, most_rows, padded
from safefed.prefixes import SHORTEST, Prefixes, Tokens, n_common

ROOM = 128
"""Free columns of a cache, for the tokens to come; when they are full, it is copied into a larger one."""

READ = 2048
"""Prompt tokens of one forward pass, unless one prompt has more: less memory, and a CPU's caches hold more of it."""

GUESSED, SHORTEST_GUESS, LONGEST_GUESS = 64, 4, 16
"""Tokens guessed for all rows of a batch, and for one row at least and at most: few rows have time for more."""

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
    return (
        _layers(model) <= {DynamicLayer, DynamicSlidingWindowLayer}
        and inspect.signature(model.forward).parameters.keys() >= _NEEDED
        and kind.prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
        and not model.config.is_encoder_decoder
        and getattr(config, "is_causal", True)
        and not getattr(config, "num_kv_shared_layers", 0)
        and "chunked_attention" not in (getattr(config, "layer_types", None) or ())
        and not {"dynamic", "longrope"} & set(_rope_types(getattr(config, "rope_parameters", None) or {}))
    )


def _layers(model: Any) -> set[type]:
    return {type(layer) for layer in DynamicCache(config=model.config.get_text_config(decoder=True)).layers}


def _likeliest(logits: torch.Tensor) -> list[list[int]]:
    there: Any = logits.float().numpy() if logits.device.type == "cpu" else logits  # numpy's takes a tenth of the time
    found: list[list[int]] = there.argmax(-1).tolist()
    return found


def _rope_types(parameters: Mapping[str, Any]) -> Iterator[str]:
    yield str(parameters.get("rope_type"))
    for part in parameters.values():
        if isinstance(part, Mapping):
            yield from _rope_types(part)


class Decoding:
    """The work on one list of prompts.

    Prompts are taken longest first, so that one that joins is no longer than the columns in use; it waits if it is less
    than half as long. In a batch all rows end in the same column; when a quarter of them has its answer, the others are
    copied together and waiting prompts join them. Of a prompt only what is not in ``kept`` is read. Columns of guesses
    that were wrong stay, masked, until the next copy; a sliding window would count them, so models with one get none.

    Args:
        model: ``is_plain``, in eval mode, or a PeftModel around such a model.
        prompts: Tokens, at least one each.
        limits: Of answers and batches.
        kept: Prompts already read under the same weights.
        keep: Whether ``kept`` is to remember these as well; what they all begin with it always does.
        drafts: Guesses, which learn these answers too; None: one token after the other.

    Attributes:
        n_read: Prompt tokens that went through the model.
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Tokens],
        limits: Limits,
        *,
        kept: Prefixes,
        keep: bool,
        drafts: Drafts | None,
    ) -> None:
        self._model, self._prompts, self._limits, self._kept, self._keep = model, prompts, limits, kept, keep
        self._drafts = None if DynamicSlidingWindowLayer in _layers(model) else drafts
        self._ends = frozenset(limits.ends)
        self._waiting = deque(sorted(range(len(prompts)), key=lambda i: -len(prompts[i])))
        self._texts = [list(prompt) for prompt in prompts]
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
            yield {row: self._texts[row][len(self._prompts[row]) :] for row in self._rows if not self._is_live(row)}

    def _said(self, row: int) -> int:
        return len(self._texts[row]) - len(self._prompts[row])

    def _is_live(self, row: int) -> bool:
        said = self._said(row)
        return said < self._limits.max_new_tokens and not (said and self._texts[row][-1] in self._ends)

    def _length(self, row: int) -> int:
        """Columns in use: all but the newest token, which the model has not read."""
        return len(self._texts[row]) - 1

    def _step(self) -> None:
        """One token and what was guessed right after it for every row; those that have ended take part in vain."""
        guesses = [self._guess(row) for row in self._rows]
        n = 1 + max(map(len, guesses))
        fill = [self._limits.pad] * n
        ids = [[self._texts[row][-1], *guess, *fill][:n] for row, guess in zip(self._rows, guesses, strict=True)]
        start, self._filled = self._filled, self._filled + n
        device = self._mask.device
        said = self._forward(torch.tensor(ids, device=device), self._mask[:, : self._filled], self._cache, n)
        right = [n_common(guess, tokens) for guess, tokens in zip(guesses, said, strict=True)]
        for row, tokens, k in zip(self._rows, said, right, strict=True):
            self._say(row, tokens[: k + 1])
        accepted = torch.tensor(right, device=device)[:, None]
        self._mask[:, start : self._filled] = torch.arange(n, device=device) <= accepted

    def _guess(self, row: int) -> list[int]:
        """How the answer may go on, as far as a step has use and room for it."""
        if self._drafts is None or not self._is_live(row):
            return []
        length = min(LONGEST_GUESS, max(SHORTEST_GUESS, GUESSED // len(self._rows)))
        left = min(self._limits.max_new_tokens - self._said(row), self._mask.shape[1] - self._filled)
        return self._drafts.guess(self._texts[row], min(length, left - 1))

    def _say(self, row: int, tokens: Sequence[int]) -> None:
        """Add to an answer until it has ended."""
        text = self._texts[row]
        start = len(text)
        for token in tokens:
            if self._is_live(row):
                text.append(token)
        if self._drafts is not None:
            self._drafts.learn(text, start)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Cache, n: int = 1) -> list[list[int]]:
        """The likeliest token after each of the last ``n`` of a row; ``mask`` is (rows, columns with these)."""
        positions = mask.sum(1, keepdim=True) - ids.shape[1] + torch.arange(ids.shape[1], device=ids.device)
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions.clamp(0, self._last),  # padding has none, and a row that has ended goes too far
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=n,
        )
        return _likeliest(out.logits[:, -n:])

    def _regroup(self) -> None:
        """Rows that go on and rows that join, in one cache as wide as its longest."""
        live = [place for place, row in enumerate(self._rows) if self._is_live(row)]
        staying = [self._rows[place] for place in live]
        groups = list(self._read(self._joining(staying)))
        rows = [*staying, *(row for group, _ in groups for row in group)]
        parts = [Part(len(group), held) for group, held in groups]
        parts[:0] = [Part(1, self._held(place)) for place in live]
        self._filled = max(map(self._length, rows))
        room = min(ROOM, self._limits.max_new_tokens * (1 + SHORTEST_GUESS))
        self._cache = stacked(parts, self._filled, room)
        self._rows, self._mask = rows, self._seen(map(self._length, rows), self._filled, room)

    def _held(self, place: int) -> Pairs:
        """A copy of a row's columns without those of wrong guesses."""
        columns = self._mask[place, : self._filled].nonzero().squeeze(1)
        return cut(pairs(self._cache), slice(place, place + 1), columns)

    def _seen(self, lengths: Any, width: int, room: int = 0) -> torch.Tensor:
        starts = torch.tensor([[width - length] for length in lengths], device=self._model.device)
        return torch.arange(width + room, device=starts.device) >= starts

    def _joining(self, staying: Sequence[int]) -> list[int]:
        if not self._waiting:
            return []
        longest = max([len(self._prompts[self._waiting[0]]), *map(self._length, staying)])
        free = max(0, most_rows(longest, self._limits.batch_size) - len(staying))
        near = takewhile(lambda row: 2 * len(self._prompts[row]) >= longest, islice(self._waiting, free))
        return [self._waiting.popleft() for _ in list(near)]

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
            while order and 4 * unread[order[0]] > 3 * most and most * (1 + len(group)) <= READ:
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
        for row, tokens in zip(group, self._forward(ids, self._seen(map(len, prompts), width), cache), strict=True):
            self._say(row, tokens)
        self.n_read += sum(min(n, len(prompt)) for prompt in prompts)
        held = pairs(cache)
        for place, (prompt, k) in enumerate(zip(prompts, before, strict=True)):
            if self._keep and 2 * k <= len(prompt):
                self._kept.keep(prompt, cut(held, slice(place, place + 1), slice(width - len(prompt), None)))
        return held
