"""One engine for all encoders: raw texts in, the model's outputs on all their token windows out.

Equal texts are read once. The windows run longest first in batches of about equal work, so little of it is padding;
what comes out does not depend on what else was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from safefed.errors import ConfigError, DataError
from safefed.filters.batching import batches
from safefed.filters.tokens import spans, special_tokens, token_ids, token_limit

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

DType = Literal["auto", "float32", "bfloat16"]

BUDGET: Mapping[str, int] = {"cpu": 1024, "cuda": 32_768}
"""Tokens of a batch, padding included. Measured with BERT-base in float32 on one core: 512 and 4,096 take 15 and 30 %
longer than 1,024, 2,048 takes 8 %. The value for GPUs is a guess."""


def split_dtype(argument: str) -> tuple[str, DType]:
    """``NAME#dtype=float32`` as (NAME, "float32"), or (argument, "auto"). Raises ConfigError on another dtype."""
    name, separator, wanted = argument.partition("#dtype=")
    if not separator:
        return argument, "auto"
    for known in get_args(DType):
        if wanted == known:
            return name, known
    raise ConfigError(f"{name}#dtype= must be followed by one of {', '.join(get_args(DType))}, not {wanted!r}")


def has_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 matrices faster than float32."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


class Encoder:
    """A sequence classifier, or another model whose ``logits`` have one row per text, that reads texts of any length.

    Args:
        model: In float32; it is moved to the GPU if there is one. Owned from now on.
        tokenizer: Its tokenizer, which must know how to pad.
        limit: Tokens of a window, special ones included; what model and tokenizer allow at most, which is the default.
        dtype: "auto" is "bfloat16" where the hardware has it, else "float32". "bfloat16" multiplies matrices in
            bfloat16 and keeps norms and what runs between layers in float32: half the error of bfloat16 throughout.
        budget: Tokens of a batch; see ``BUDGET``.

    Attributes:
        limit: Tokens of a window, special ones included.
        dtype: "float32" or "bfloat16".

    Raises:
        ConfigError: ``limit`` leaves no room for text.
        DataError: the tokenizer cannot be used.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        limit: int | None = None,
        dtype: DType = "auto",
        budget: int | None = None,
    ) -> None:
        import torch

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        chosen = "bfloat16" if has_bfloat16(self._device) else "float32"
        self.dtype = chosen if dtype == "auto" else dtype
        self._model = model.to(self._device).eval()
        if self.dtype == "bfloat16":
            _halve(self._model)
        self._tokenizer = tokenizer
        self._before, self._after = special_tokens(tokenizer)
        self._pad = _padding(tokenizer)
        self.limit = min(limit or token_limit(model, tokenizer), token_limit(model, tokenizer))
        self._size = self.limit - len(self._before) - len(self._after)
        if self._size < 1:
            raise ConfigError(f"windows of {self.limit} tokens hold no text; raise max_tokens")
        self._budget = budget or BUDGET[self._device]

    def outputs(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """The logits (windows, n) of each text's windows, in order; a text within the limit has one window."""
        unique = dict.fromkeys(texts)
        tokens = token_ids(self._tokenizer, list(unique))
        cuts = [[ids[start:end] for start, end in spans(len(ids), self._size)] for ids in tokens]
        rows = self.run([window for windows in cuts for window in windows])
        ends = np.cumsum([len(windows) for windows in cuts])
        found = dict(zip(unique, np.split(rows, ends[:-1]) if unique else [], strict=True))
        return [found[text] for text in texts]

    def run(self, windows: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The logits (len(windows), n) of windows of tokens without special ones, in order."""
        rows: list[Any] = [None] * len(windows)
        with self._fast():
            for batch in batches([len(window) + self.limit - self._size for window in windows], self._budget):
                logits = self._forward([windows[i] for i in batch])
                for i, row in zip(batch, logits, strict=True):
                    rows[i] = row
        return np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)

    def _forward(self, windows: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        import torch

        rows = [[*self._before, *window.tolist(), *self._after] for window in windows]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [self._pad] * (longest - len(row)) for row in rows], device=self._device)
        lengths = torch.tensor([len(row) for row in rows], device=self._device)
        mask = (torch.arange(longest, device=self._device) < lengths[:, None]).long()
        found: NDArray[np.float32] = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return found

    @contextmanager
    def _fast(self) -> Iterator[None]:
        import torch

        halved = self.dtype == "bfloat16"
        with torch.inference_mode(), torch.autocast(self._device, dtype=torch.bfloat16, enabled=halved):
            yield


def _halve(model: torch.nn.Module) -> None:
    """Keep the weights of all linear layers in bfloat16, as autocast would convert them on every call."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(torch.bfloat16)


def _padding(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.pad_token_id is None:
        raise DataError(f"tokenizer {tokenizer.name_or_path} has no padding token; set pad_token in its folder")
    return int(tokenizer.pad_token_id)
