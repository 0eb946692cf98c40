"""``embedding``: logistic heads over the vector of a sentence encoder and wording; ``linear.md`` has figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import ConfigError
from safefed.filters.encoder_batches import split_dtype
from safefed.filters.heads import load_heads
from safefed.filters.heads_filter import HeadsFilter
from safefed.filters.meaning import most_telling
from safefed.filters.passages import Scorer
from safefed.filters.sentence_encoder import SentenceEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder that the heads of the package were fitted to (Apache-2.0)."""


class EmbeddingFilter(HeadsFilter):
    """Scores "prompt", "response" and "refusal" by meaning and wording of the most telling passage.

    Args:
        argument: A folder that ``safefed fit-filter`` wrote, or a copy of the encoder all-MiniLM-L6-v2 (folder or hub
            id, perhaps "@REVISION"), which the package's own heads belong to and which is the default.
            "#dtype=float32" or "#dtype=bfloat16" at the end overrides the choice by hardware.
        threshold: The unsafe probability from which a row is flagged.

    Raises:
        ConfigError: the heads were fitted to another encoder.
        DataError: the encoder cannot be found or read.
        IntegrityError: the heads were changed.
    """

    def __init__(self, argument: str | None = None, *, threshold: float = 0.5) -> None:
        place, dtype = split_dtype(argument or DEFAULT)
        fitted = (Path(place) / "embedding.json").is_file()
        heads, digest = load_heads(Path(place) if fitted else Path(__file__).parent, "embedding")
        name = str(heads.about["encoder"]) if fitted else place
        self._encoder = SentenceEncoder(name, dtype=dtype)
        if self._encoder.weights != heads.about["encoder_weights"]:
            raise ConfigError(
                f"the heads were fitted to another encoder than {name}; fit heads to it: "
                f"safefed fit-filter DATA --filter embedding:{name} --out DIR"
            )
        super().__init__(f"embedding:{argument}" if argument else "embedding", heads, [digest, dtype], threshold)
        self._last: tuple[Sequence[str], NDArray[np.float32]] = ([], np.zeros((0, self._encoder.width), np.float32))
        wording = self._words.lexicon.width
        parts = {axis: head[:wording] for axis, head in heads.axes.items()}
        self._scorer = Scorer(self._static, parts, heads.biases, self._words)

    def logits(self, name: str, texts: Sequence[str]) -> NDArray[Any]:
        """See ``HeadsFilter``."""
        return most_telling(texts, self._scorer, name, self._heads.axes[name], self._vectors)

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors; those of the last texts are remembered, since several heads may read the same."""
        if self._last[0] != texts:
            self._last = (texts, self._encoder.vectors(texts))
        return self._last[1].copy()
