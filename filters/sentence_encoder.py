"""Sentence encoders from a folder or the hub, as unit vectors: the sentence-transformers layout with its pooling."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from safefed.errors import ConfigError, DataError
from safefed.filters.encoder_batches import DType, Encoder
from safefed.models import weights_hash

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Pooling = Literal["mean", "cls"]
LIMIT = 256
"""Tokens of a window; a longer text is the mean of its windows."""


class SentenceEncoder:
    """Texts to vectors.

    Args:
        name: A folder or hub id, perhaps ``OWNER/NAME@REVISION``.
        dtype: See ``Encoder``.

    Attributes:
        width: Length of a vector.
        weights: Hash of its weights.

    Raises:
        ConfigError: it pools in a way other than mean or first token.
        DataError: it cannot be found or read.
    """

    def __init__(self, name: str, *, dtype: DType = "auto") -> None:
        from transformers import AutoModel, AutoTokenizer

        place, _, revision = name.partition("@")
        options: dict[str, Any] = {"revision": revision or None}
        try:
            model = AutoModel.from_pretrained(place, use_safetensors=True, **options)
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
        except (OSError, ValueError) as error:
            first = str(error).strip().partition("\n")[0][:200]
            raise DataError(f"sentence encoder {name} cannot be loaded ({first}); give its folder or hub id") from None
        self.width = int(model.config.hidden_size)
        self.weights = weights_hash(model)
        self._encoder = Encoder(_pooled(model, _pooling(place, revision or None)), tokenizer, limit=LIMIT, dtype=dtype)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, width), rows of length 1."""
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        means = np.stack([windows.mean(axis=0) for windows in self._encoder.outputs(texts)])
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(norms, 1e-9), dtype=np.float32)


def _pooling(place: str, revision: str | None) -> Pooling:
    """How the layout says that token vectors become one; the mean where it says nothing."""
    import json

    from transformers.utils.hub import cached_file

    file = cached_file(
        place, "1_Pooling/config.json", revision=revision, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    if file is None:
        return "mean"
    with open(file, encoding="utf-8") as handle:
        wanted = [key.removeprefix("pooling_mode_") for key, value in json.load(handle).items() if value is True]
    known: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls"}
    if len(wanted) != 1 or wanted[0] not in known:
        raise ConfigError(
            f"{place} pools by {', '.join(wanted)}; safefed knows encoders that pool by mean or first token"
        )
    return known[wanted[0]]


def _pooled(model: Any, pooling: Pooling) -> torch.nn.Module:
    """The model with one unit vector per text as its ``logits``, which is what ``Encoder`` batches."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.config = model, model.config

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
            mask = attention_mask[:, :, None].float()
            vectors = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
            return SimpleNamespace(logits=torch.nn.functional.normalize(vectors, dim=1))

    return Pooled()
