"""``linear``: the embedded default filter. Logistic heads over hashed n-grams; linear.md says how good it is.

It downloads nothing and needs no torch. It ranks texts by their wording: what is harmful only in context, obfuscated or
not in English is beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import ConfigError, IntegrityError
from safefed.filters.base import AXES
from safefed.filters.combine import score_exchanges, to_verdict
from safefed.filters.hashing import CHARACTERS, WORDS, Hasher
from safefed.records import Sample, Verdict, content_hash
from safefed.store import read_json, sha256_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

WEIGHTS, CARD = "linear.safetensors", "linear.json"
FORMAT = 1
CATEGORY_FEATURES = 2**15
OPENING = 300
"""Characters of a reply that the refusal axis reads: who declines does so at once."""

_BATCH = 2048


def load_weights(folder: Path) -> tuple[dict[str, NDArray[Any]], Mapping[str, Any]]:
    """The heads and the card of ``folder``, checked against each other.

    Raises:
        ConfigError: there is no such filter in ``folder``.
        IntegrityError: the weights are not those that the card was written for.
    """
    from safetensors.numpy import load

    if not (folder / CARD).is_file():
        raise ConfigError(f"{folder} holds no {CARD}; give the folder that safefed.filters.fit_linear wrote to")
    card = read_json(folder / CARD)
    raw = (folder / WEIGHTS).read_bytes() if (folder / WEIGHTS).is_file() else b""
    if sha256_bytes(raw) != card.get("sha256"):
        raise IntegrityError(f"{folder / WEIGHTS} is not the file that {CARD} describes; reinstall safefed or refit it")
    if card.get("format") != FORMAT:
        raise IntegrityError(
            f"{folder / CARD} has format {card.get('format')!r}, this safefed reads {FORMAT}; refit it"
        )
    tensors = load(raw)
    _check_shapes(tensors, card, folder)
    return tensors, card


def _check_shapes(tensors: Mapping[str, NDArray[Any]], card: Mapping[str, Any], folder: Path) -> None:
    expected = dict.fromkeys(AXES, (WORDS + CHARACTERS,)) | {"category": (len(card["categories"]), CATEGORY_FEATURES)}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise IntegrityError(f"{folder / WEIGHTS} does not hold the heads {', '.join(expected)}; refit it")


def fold(rows: csr_matrix) -> csr_matrix:
    """Rows over fewer features, for the category heads: columns modulo ``CATEGORY_FEATURES``."""
    from scipy.sparse import csr_matrix

    shape = (rows.shape[0], CATEGORY_FEATURES)
    return csr_matrix((rows.data, rows.indices % CATEGORY_FEATURES, rows.indptr), shape=shape)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


class LinearFilter:
    """Scores "prompt", "response" and "refusal" in [0, 1] and names the hazard category of what it flags.

    Args:
        argument: A folder with ``linear.safetensors`` and ``linear.json``; the embedded ones by default.
        threshold: The unsafe probability from which a row is to be revised.

    Raises:
        ConfigError: ``argument`` is not such a folder.
        IntegrityError: the weights were changed.
    """

    def __init__(self, argument: str | None = None, *, threshold: float = 0.5) -> None:
        self.name = f"linear:{argument}" if argument else "linear"
        self._heads, self._card = load_weights(Path(argument) if argument else Path(__file__).parent)
        self.revision = content_hash([dict(self._card), threshold])
        self.threshold = threshold
        self._hasher = Hasher()

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; equal texts are scored once per batch of 2,048 samples."""
        return [v for start in range(0, len(samples), _BATCH) for v in self._batch(samples[start : start + _BATCH])]

    def probabilities(self, axis: str, texts: Sequence[str]) -> list[float]:
        """The calibrated score of each text on one axis: that of its most telling run of sentences."""
        if axis == "refusal":
            texts = [text[:OPENING] for text in texts]
        logits, _ = self._hasher.best_runs(texts, self._heads[axis])
        slope, offset = self._card["calibration"][axis]
        return [round(float(p), 6) for p in sigmoid(slope * logits + offset)]

    def _batch(self, samples: Sequence[Sample]) -> list[Verdict]:
        rows = score_exchanges(samples, self.probabilities)
        verdicts = [self._verdict(sample, scores) for sample, scores in zip(samples, rows, strict=True)]
        flagged = [i for i, verdict in enumerate(verdicts) if verdict.action == "revise"]
        for i, category in zip(flagged, self._categories([samples[i] for i in flagged]), strict=True):
            verdicts[i] = self._verdict(samples[i], rows[i], category)
        return verdicts

    def _verdict(self, sample: Sample, scores: Sequence[Mapping[str, float]], category: str | None = None) -> Verdict:
        return to_verdict(
            sample.id,
            scores,
            name=self.name,
            revision=self.revision,
            threshold=self.threshold,
            category=category,
        )

    def _categories(self, samples: Sequence[Sample]) -> list[str]:
        if not samples:
            return []
        texts = [sample.prompt if sample.prompt.strip() else sample.response for sample in samples]
        logits = fold(self._hasher.rows(texts)) @ self._heads["category"].T.astype(np.float32)
        return [str(self._card["categories"][best]) for best in (logits + self._card["category_bias"]).argmax(axis=1)]
