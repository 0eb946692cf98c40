"""``linear``: the embedded default filter. Logistic heads over static embeddings and hashed n-grams.

``linear.md`` says how good it is. It downloads nothing and needs no torch. It ranks texts by their wording: what is
harmful only in context, obfuscated or not in English is beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.filters.heads import load_heads
from safefed.filters.heads_filter import HeadsFilter
from safefed.filters.passages import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LinearFilter(HeadsFilter):
    """Scores "prompt", "response" and "refusal" by the wording of the most telling passage.

    Args:
        argument: A folder with ``linear.safetensors`` and ``linear.json``; the embedded ones by default.
        threshold: The unsafe probability from which a row is flagged.

    Raises:
        ConfigError: ``argument`` is not such a folder.
        IntegrityError: the weights were changed.
    """

    def __init__(self, argument: str | None = None, *, threshold: float = 0.5) -> None:
        heads, digest = load_heads(Path(argument) if argument else Path(__file__).parent, "linear")
        super().__init__(f"linear:{argument}" if argument else "linear", heads, digest, threshold)
        self._scorer = Scorer(self._static, heads.axes, heads.biases, self._words)

    def logits(self, name: str, texts: Sequence[str]) -> NDArray[Any]:
        """See ``HeadsFilter``."""
        return self._scorer.logits(name, texts)
