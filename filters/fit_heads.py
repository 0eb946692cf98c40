"""Fitting the heads of ``linear`` and ``embedding``: logistic regression on passages, calibrated on held-out folds.

A text is later scored by its most telling passage, so of each harmless text the passage that looks worst is added as a
harmless example. Probabilities are calibrated (Platt) on the scores of held-out folds, which are cut between groups of
related texts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from safefed.filters.categories import category_rows
from safefed.filters.heads import Heads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from safefed.filters.static import StaticVectors

    Floats = NDArray[np.float64]

SOURCE_WEIGHTS = {"requests": 2.5, "posts": 4.0, "surge": 3.0, "benign": 2.0, "xstest": 8.0}
"""What a source counts beside the others, 1 by default: text that reads like what people write counts most."""

FALSE_POSITIVES = 0.05
"""The share of held-out benign rows that may reach 0.5 on the axis "prompt" or "response"."""

FOLDS = 3


@dataclass(frozen=True, slots=True)
class Example:
    """One text with its label; folds are cut between groups, weights are balanced between sources."""

    text: str
    label: bool
    source: str
    group: str
    category: str | None = None


class Features(Protocol):
    """What a kind of heads reads of a text.

    Attributes:
        strength: Inverse regularisation of its heads, by axis.
    """

    strength: Mapping[str, float]

    def rows(self, axis: str, texts: Sequence[str]) -> csr_matrix:
        """Each text as one passage, shape (texts, features)."""
        ...

    def logits(self, axis: str, texts: Sequence[str], head: NDArray[Any], bias: float) -> Floats:
        """The logit of each text's most telling passage, shape (texts,)."""
        ...

    def hard_rows(
        self, axis: str, texts: Sequence[str], head: NDArray[Any], bias: float, least: float
    ) -> tuple[csr_matrix, Any]:
        """Passages of texts that have several, from logit ``least`` on, and the indices of their texts."""
        ...

    def folded(self, head: NDArray[Any]) -> Floats:
        """The head as it is stored."""
        ...

    def unfolded(self, head: NDArray[Any]) -> Floats:
        """A stored head as one over ``rows``."""
        ...


def logistic(rows: Any, labels: Any, weights: Any, strength: float) -> tuple[Floats, float]:
    """Weights and bias of a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    used = _used_columns(rows)
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3, solver="newton-cg")  # ten times as fast as lbfgs
    model.fit(rows[:, used], labels, sample_weight=weights)
    head = np.zeros(rows.shape[1])
    head[used] = model.coef_[0]
    return head, float(model.intercept_[0])


def _used_columns(rows: Any) -> NDArray[np.int64]:
    """The columns that are not empty: of half a million n-grams few rows have few, and the others' weight is 0."""
    return np.unique(rows.indices) if hasattr(rows, "indices") else np.arange(rows.shape[1])


def balance(found: Sequence[Example]) -> Floats:
    """One weight per example, mean 1: a source counts with the square root of its size, class by class."""
    sizes = Counter((example.source, example.label) for example in found)
    weights = np.array([SOURCE_WEIGHTS.get(e.source, 1.0) * sizes[e.source, e.label] ** -0.5 for e in found])
    return np.asarray(weights * len(weights) / weights.sum())


def fit_axis(axis: str, found: Sequence[Example], features: Features, rows: csr_matrix) -> tuple[Floats, float]:
    """Weights and bias of one head; ``rows`` are the features of ``found``."""
    from scipy.sparse import csr_matrix, vstack

    labels, weights = np.array([example.label for example in found]), balance(found)
    head, bias = logistic(rows, labels, weights, features.strength[axis])
    harmless = np.flatnonzero(~labels)
    hard, owners = features.hard_rows(axis, [found[int(i)].text for i in harmless], head, bias, least=-1.0)
    if not len(owners):
        return head, bias
    more = csr_matrix(vstack([rows, hard]))
    all_labels = np.concatenate([labels, np.zeros(len(owners), dtype=bool)])
    all_weights = np.concatenate([weights, weights[harmless[owners]]])
    return logistic(more, all_labels, all_weights, features.strength[axis])


def fold_of(group: str) -> int:
    """The fold that a group of related texts is in."""
    return int(hashlib.sha256(f"fold:{group}".encode()).hexdigest(), 16) % FOLDS


def held_out_logits(axis: str, found: Sequence[Example], features: Features, rows: csr_matrix) -> Floats:
    """The logit of every example under a head that was fitted without its group."""
    logits, folds = np.zeros(len(found)), np.array([fold_of(example.group) for example in found])
    for fold in range(FOLDS):
        fitted, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        head, bias = fit_axis(axis, [found[int(i)] for i in fitted], features, rows[fitted])
        logits[out] = features.logits(axis, [found[int(i)].text for i in out], head, bias)
    return logits


def calibrate(logits: Floats, found: Sequence[Example], axis: str) -> tuple[float, float]:
    """Platt's slope and offset; both classes weigh the same, so that 0.5 does not depend on how many there are.

    The offset is lowered where more than ``FALSE_POSITIVES`` of the benign rows would reach 0.5.
    """
    labels = np.array([example.label for example in found])
    weights = balance(found)
    for label in (False, True):
        weights[labels == label] /= weights[labels == label].sum()
    slope, offset = logistic(logits[:, None], labels, weights * len(found), 1e6)
    harmless = logits[[example.source == "benign" for example in found]]
    if axis != "refusal" and len(harmless):
        offset = min(offset, -slope[0] * float(np.quantile(harmless, 1 - FALSE_POSITIVES)))
    return float(slope[0]), offset


def fit_heads(found: Mapping[str, Sequence[Example]], features: Features, static: StaticVectors, **about: Any) -> Heads:
    """All heads, from examples by axis."""
    axes, biases, calibration = {}, {}, {}
    for axis, examples in found.items():
        rows = features.rows(axis, [example.text for example in examples])
        calibration[axis] = calibrate(held_out_logits(axis, examples, features, rows), examples, axis)
        head, biases[axis] = fit_axis(axis, examples, features, rows)
        axes[axis] = features.folded(head)
    names, category, category_biases = fit_categories(found["prompt"], static)
    return Heads(axes, biases, calibration, names, category, category_biases, about)


def fit_categories(found: Sequence[Example], static: StaticVectors) -> tuple[list[str], Floats, list[float]]:
    """One head per hazard category, fitted on the examples that name one."""
    known = [example for example in found if example.category]
    rows = category_rows([example.text for example in known], static)
    names = sorted({str(example.category) for example in known}, key=lambda name: int(name[1:]))
    weights = balance(known)
    labels = np.array([example.category for example in known])
    heads = [logistic(rows, labels == name, weights, 10.0) for name in names]
    return names, np.stack([head for head, _ in heads]), [bias for _, bias in heads]
