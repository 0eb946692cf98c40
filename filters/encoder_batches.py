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
from safefed.filters.batching import each_once, in_batches
from safefed.filters.tokens import spans, special_tokens, token_ids, token_limit
from safefed.models import has_bfloat16
from safefed.padding import padded

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

DType = Literal["auto", "float32", "bfloat16"]

BUDGET: Mapping[str, int] = {"cpu": 1024, "cuda": 32_768}
"""Tokens of a batch, padding included. 256 texts through BERT-base in float32 on one core took 59 s with 1,024, 59 to
71 with 2,048, 64 with 512 and with 4,096. The value for GPUs is a guess."""


def split_dtype(argument: str) -> tuple[str, DType]:
    """``NAME#dtype=float32`` as (NAME, "float32"), or (argument, "auto"). Raises ConfigError on another dtype."""
    name, separator, wanted = argument.partition("#dtype=")
    if not separator:
        return argument, "auto"
    for known in get_args(DType):
        if wanted == known:
            return name, known
    raise ConfigError(f"{name}#dtype= must be followed by one of {', '.join(get_args(DType))}, not {wanted!r}")


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
        return each_once(texts, self._outputs) if texts else []

    def _outputs(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        tokens = token_ids(self._tokenizer, texts)
        cuts = [[ids[start:end] for start, end in spans(len(ids), self._size)] for ids in tokens]
        rows = self.run([window for windows in cuts for window in windows])
        return np.split(rows, np.cumsum([len(windows) for windows in cuts])[:-1])

    def run(self, windows: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The logits (len(windows), n) of windows of tokens without special ones, in order."""
        lengths = [len(window) + self.limit - self._size for window in windows]
        no_padding = self._tokenizer.padding_side != "right"  # XLNet's, for one: its models end where a text does
        with self._fast():
            rows = in_batches(windows, lengths, self._budget, self._forward, equal=no_padding)
        return np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)

    def _forward(self, windows: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
        rows = [[*self._before, *window.tolist(), *self._after] for window in windows]
        ids, mask = padded(rows, self._pad, self._device, left=False)
        logits: NDArray[np.float32] = self._model(input_ids=ids, attention_mask=mask).logits.float().cpu().numpy()
        return list(logits)

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
