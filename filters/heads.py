"""Logistic heads on disk: ``NAME.safetensors`` and ``NAME.json``, which holds its hash, calibration and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import ConfigError, IntegrityError
from safefed.store import read_json, sha256_bytes, write_atomic, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = {"linear": 3, "embedding": 4}
"""What the columns of a head mean, by name; counted up when they change."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What was fitted.

    Attributes:
        axes: Weights by name, each of shape (features,). A name is what the head reads: "prompt", "response",
            "refusal", or "asked", which is added to "response": what an answer judged as a whole was asked for. Heads
            for a hazard alone are called e.g. "prompt/S10".
        biases: By name.
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

    def of(self, part: str) -> list[str]:
        """The names of the heads that read ``part``."""
        return [name for name in self.axes if part_of(name) == part]

    def probabilities(self, axis: str, logits: NDArray[Any]) -> list[float]:
        """Calibrated probabilities from the logits of an axis' heads, shape (heads, texts), rounded to six digits."""
        slope, offset = self.calibration[axis]
        return [round(float(p), 6) for p in sigmoid(slope * any_of(logits) + offset)]


def part_of(name: str) -> str:
    """What the head ``name`` reads."""
    return name.partition("/")[0]


def hazard_of(name: str) -> str | None:
    """The hazard that the head ``name`` is for; None for all."""
    return name.partition("/")[2] or None


def any_of(logits: NDArray[Any]) -> NDArray[Any]:
    """The logit that at least one of independent causes holds (noisy or): shape (causes, n) -> (n,)."""
    if len(logits) == 1:
        return np.asarray(logits[0])
    none = np.logaddexp(0.0, logits).sum(axis=0)  # -log of the probability that no cause holds
    return np.asarray(none + np.log(-np.expm1(-none)))


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def save_heads(folder: Path, name: str, heads: Heads) -> None:
    """Write ``name``.safetensors (float16) and ``name``.json, the latter last."""
    from safetensors.numpy import save

    tensors = {**heads.axes, "category": heads.category}
    raw = save({key: np.asarray(value, dtype=np.float16) for key, value in tensors.items()})
    write_atomic(folder / f"{name}.safetensors", raw)
    card = {"format": FORMATS[name], "sha256": sha256_bytes(raw)}
    card |= {"biases": dict(heads.biases), "about": dict(heads.about)}
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
    if card.get("format") != FORMATS[name]:
        raise IntegrityError(
            f"{card_file} has format {card.get('format')!r}, this safefed reads {FORMATS[name]}; refit it"
        )
    tensors = load(raw)
    axes = {name: tensors[name] for name in card["biases"]}
    heads = Heads(
        axes, card["biases"], card["calibration"], card["categories"], tensors["category"], card["category_biases"],
        card["about"],
    )  # fmt: skip
    return heads, sha256_bytes(card_file.read_bytes())
