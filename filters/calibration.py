"""From a filter's scores to probabilities: a monotone map, fitted on rows whose labels are known.

Platt scaling is a line on the logit of the score, two numbers that 50 rows can fix; isotonic regression is any rising
curve, and wants a thousand rows. Neither changes the order of rows, so neither makes a filter rank better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from safefed.config import Section, Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

Method = Literal["auto", "platt", "isotonic"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

SMALLEST = 1e-6
"""Scores are clipped to [1e-6, 1 - 1e-6], before and after; calibrated ones have six digits."""

ISOTONIC_ROWS, ISOTONIC_EACH = 1000, 100
"""``auto`` is isotonic from 1,000 rows on with 100 of each kind (Niculescu-Mizil and Caruana 2005), else Platt."""

BINS = 10


def logit(scores: Any) -> Floats:
    """log(p / (1 - p)) of clipped scores (n,), within +-13.8."""
    clipped = np.clip(np.asarray(scores, dtype=np.float64), SMALLEST, 1.0 - SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _probabilities(values: Floats) -> Floats:
    return np.asarray(np.clip(values, SMALLEST, 1.0 - SMALLEST).round(6), dtype=np.float64)


class Platt(Section):
    """``1 / (1 + exp(-(slope * logit(score) + offset)))``; a slope of 0 gives every row the same probability."""

    method: Literal["platt"] = "platt"
    slope: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    offset: Finite

    def __call__(self, scores: Any) -> Floats:
        """Probabilities (n,) of raw scores (n,)."""
        return _probabilities(0.5 * (1.0 + np.tanh(0.5 * (self.slope * logit(scores) + self.offset))))

    @property
    def flat(self) -> bool:
        """Whether it says the same of every row."""
        return self.slope < SMALLEST


class Isotonic(Section):
    """A rising curve through ``values`` at ``logits``, straight in between, level outside."""

    method: Literal["isotonic"] = "isotonic"
    logits: Annotated[list[Finite], Field(min_length=1)]
    values: Annotated[list[Share], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.logits) != len(self.values):
            raise ValueError("logits and values must be of one length")
        if np.any(np.diff(self.logits) <= 0) or np.any(np.diff(self.values) < 0):
            raise ValueError("logits and values must rise")
        return self

    def __call__(self, scores: Any) -> Floats:
        """Probabilities (n,) of raw scores (n,)."""
        return _probabilities(np.interp(logit(scores), self.logits, self.values))

    @property
    def flat(self) -> bool:
        """Whether it says the same of every row."""
        return self.values[-1] - self.values[0] < SMALLEST


Calibrator = Platt | Isotonic


def method_for(unsafe: Bools, method: Method = "auto") -> Literal["platt", "isotonic"]:
    """What "auto" means for rows with these labels; any other method is itself."""
    if method != "auto":
        return method
    enough = len(unsafe) >= ISOTONIC_ROWS and min(int(unsafe.sum()), int((~unsafe).sum())) >= ISOTONIC_EACH
    return "isotonic" if enough else "platt"


def fit(unsafe: Bools, scores: Floats, method: Method = "auto") -> Calibrator:
    """The map from ``scores`` (n,) in [0, 1] to the probability that a row is ``unsafe`` (n,).

    The targets are not 1 and 0 but (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), for n1 unsafe and n0 safe rows (Platt 1999,
    section 2.2): few rows cannot claim certainty, and a slice that the score separates keeps a finite slope.

    Raises:
        ValueError: the labels are all alike.
    """
    n_unsafe, n_safe = int(unsafe.sum()), int((~unsafe).sum())
    if not n_unsafe or not n_safe:
        raise ValueError("calibration needs unsafe and safe rows")
    targets = np.where(unsafe, (n_unsafe + 1) / (n_unsafe + 2), 1 / (n_safe + 2))
    known = _fit_platt if method_for(unsafe, method) == "platt" else _fit_isotonic
    return known(logit(scores), targets)


def _fit_platt(x: Floats, targets: Floats) -> Platt:
    from scipy.optimize import minimize

    def loss(line: Floats) -> tuple[float, Floats]:
        z = line[0] * x + line[1]
        error = 0.5 * (1.0 + np.tanh(0.5 * z)) - targets
        value = float((np.logaddexp(0.0, z) - targets * z).mean())
        return value, np.array([(error * x).mean(), error.mean()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)])
    return Platt(slope=round(float(found.x[0]), 9), offset=round(float(found.x[1]), 9))


def _fit_isotonic(x: Floats, targets: Floats) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(out_of_bounds="clip").fit(x, targets)
    return Isotonic(logits=curve.X_thresholds_.tolist(), values=np.clip(curve.y_thresholds_, 0.0, 1.0).tolist())


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows with a probability in [low, high): how many, how many of them unsafe, and their mean probability."""

    low: float
    high: float
    n: int
    n_unsafe: int
    mean: float


def reliability(unsafe: Bools, probabilities: Floats) -> list[Bin]:
    """Ten bins of equal width on [0, 1]; empty ones are left out."""
    owner = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    counts = [(i, owner == i) for i in range(BINS)]
    return [
        Bin(i / BINS, (i + 1) / BINS, int(rows.sum()), int(unsafe[rows].sum()), float(probabilities[rows].mean()))
        for i, rows in counts
        if rows.any()
    ]


def calibration_error(unsafe: Bools, probabilities: Floats) -> float:
    """Expected calibration error over the ten bins of ``reliability``: mean |share unsafe - mean probability| of a row.

    Source: Guo et al. 2017, equation 3. It is biased upwards where bins hold few rows.
    """
    off = sum(abs(found.n_unsafe - found.n * found.mean) for found in reliability(unsafe, probabilities))
    return float(off / len(unsafe))
