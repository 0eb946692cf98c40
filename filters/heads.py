"""Logistic heads on disk: ``NAME.safetensors`` and ``NAME.json``, which holds its hash, calibration and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import ConfigError, IntegrityError
from safefed.filters.base import AXES
from safefed.store import read_json, sha256_bytes, write_atomic, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Heads:
    """What was fitted.

    Attributes:
        axes: Weights by axis, each of shape (features,).
        biases: By axis.
        calibration: Slope and offset by axis: the probability is sigmoid(slope x logit + offset).
        categories: Names, in the order of the category head.
        category: Weights, shape (categories, features of categories).
        category_biases: One per category.
        about: Anything else that decides the scores.
    """

    axes: Mapping[str, NDArray[Any]]
    biases: Mapping[str, float]
    calibration: Mapping[str, Sequence[float]]
    categories: Sequence[str]
    category: NDArray[Any]
    category_biases: Sequence[float]
    about: Mapping[str, Any]

    def probabilities(self, axis: str, logits: NDArray[Any]) -> list[float]:
        """Calibrated probabilities of logits on one axis, rounded to six digits."""
        slope, offset = self.calibration[axis]
        return [round(float(p), 6) for p in sigmoid(slope * logits + offset)]


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def save_heads(folder: Path, name: str, heads: Heads) -> None:
    """Write ``name``.safetensors (float16) and ``name``.json, the latter last."""
    from safetensors.numpy import save

    tensors = {**heads.axes, "category": heads.category}
    raw = save({key: np.asarray(value, dtype=np.float16) for key, value in tensors.items()})
    write_atomic(folder / f"{name}.safetensors", raw)
    card = {"format": FORMAT, "sha256": sha256_bytes(raw), "biases": dict(heads.biases), "about": dict(heads.about)}
    card |= {"calibration": {axis: list(pair) for axis, pair in heads.calibration.items()}}
    card |= {"categories": list(heads.categories), "category_biases": list(heads.category_biases)}
    write_json(folder / f"{name}.json", card)


def load_heads(folder: Path, name: str) -> tuple[Heads, str]:
    """The heads called ``name`` in ``folder``, and the hash of both files.

    Raises:
        ConfigError: there are none.
        IntegrityError: the weights are not those that the card was written for, or are of another format.
    """
    from safetensors.numpy import load

    card_file, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    if not card_file.is_file():
        raise ConfigError(f"{folder} holds no {card_file.name}; give a folder that safefed fit-filter wrote")
    card = read_json(card_file)
    raw = weights.read_bytes() if weights.is_file() else b""
    if sha256_bytes(raw) != card.get("sha256"):
        raise IntegrityError(
            f"{weights} is not the file that {card_file.name} describes; reinstall safefed or refit it"
        )
    if card.get("format") != FORMAT:
        raise IntegrityError(f"{card_file} has format {card.get('format')!r}, this safefed reads {FORMAT}; refit it")
    tensors = load(raw)
    axes = {axis: tensors[axis] for axis in AXES if axis in tensors}
    heads = Heads(
        axes, card["biases"], card["calibration"], card["categories"], tensors["category"], card["category_biases"],
        card["about"],
    )  # fmt: skip
    return heads, sha256_bytes(card_file.read_bytes())
