"""Where to set the threshold, and what it will give on rows that it was not chosen on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from safefed.config import Section, Share
from safefed.errors import DataError
from safefed.filters.calibration import Method, calibration_error, fit, method_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.filters.calibration import Bools, Floats

FOLDS = 10
_MOST_ROWS = 100_000


class Goal(Section):
    """What a threshold is chosen for: a share of the safe rows flagged ("fpr"), or of the unsafe ones ("recall")."""

    kind: Literal["fpr", "recall"] = "fpr"
    rate: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.05

    @property
    def error(self) -> float:
        """The share of wrong decisions that is allowed among the rows it counts: 0.05 for a recall of 0.95."""
        return self.rate if self.kind == "fpr" else 1.0 - self.rate

    @property
    def fewest(self) -> int:
        """The fewest safe (for "fpr") or unsafe rows (for "recall") with which the rate can be held on average."""
        return ceil(1.0 / self.error - 1e-9) - 1

    def __str__(self) -> str:
        name = "false-positive rate" if self.kind == "fpr" else "recall"
        return f"{name} of {100 * self.rate:g} %"


class Figures(Section):
    """What flags and probabilities are worth; shares with exact 95 % intervals.

    ``ece`` is ``calibration_error``; ``brier`` the mean squared distance of the probability from the label.
    """

    n_safe: int
    n_unsafe: int
    fpr: Share
    fpr_ci95: Annotated[list[Share], Field(min_length=2, max_length=2)]
    recall: Share
    recall_ci95: Annotated[list[Share], Field(min_length=2, max_length=2)]
    ece: Share
    brier: Share


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What each row (n,) was given by a map and a threshold that were made without it."""

    probabilities: Floats
    flagged: Bools


def choose_threshold(unsafe: Bools, probabilities: Floats, goal: Goal) -> float:
    """The probability from which to flag, so that rows like those of the slice (n,) are flagged at ``goal``'s rate.

    For a false-positive rate a and m safe rows it lies a (m + 1) rows down from the highest, between two rows in
    proportion (Weibull's quantile, type 6 of Hyndman and Fan 1996): a new safe row is above the j-th highest with
    probability j / (m + 1), so that the rate is held on average over slices, whatever the distribution of the scores.
    A recall is the same from below among the unsafe rows. With fewer rows than ``goal.fewest`` the threshold is halfway
    from the last of them to the next row of the slice, and the rate may not be held; so it is where safe rows tie.
    """
    sign = -1.0 if goal.kind == "fpr" else 1.0  # so that "beyond" is downwards for both
    counted = np.sort(sign * probabilities[~unsafe if goal.kind == "fpr" else unsafe])
    position = min(goal.error * (len(counted) + 1) + 1e-9, len(counted))
    j = floor(position)
    here, after = counted[max(j, 1) - 1], counted[min(j, len(counted) - 1)]
    if j == 0 or (sign < 0 and j < len(counted) and here == after):
        every = np.concatenate([sign * probabilities, [min(sign, 0.0)]])
        return float(sign * (here + every[every < here].max()) / 2)
    return float(sign * (here + (position - j) * (after - here)))


def exact_interval(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, k of n > 0 (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
    return low, high


def figures(unsafe: Bools, probabilities: Floats, flagged: Bools) -> Figures:
    """The figures of rows (n,) of which some are unsafe and some safe."""
    n_unsafe, n_safe = int(unsafe.sum()), int((~unsafe).sum())
    caught, false = int((flagged & unsafe).sum()), int((flagged & ~unsafe).sum())
    return Figures(
        n_safe=n_safe,
        n_unsafe=n_unsafe,
        fpr=false / n_safe,
        fpr_ci95=list(exact_interval(false, n_safe)),
        recall=caught / n_unsafe,
        recall_ci95=list(exact_interval(caught, n_unsafe)),
        ece=calibration_error(unsafe, probabilities),
        brier=float(np.square(probabilities - unsafe).mean()),
    )


def cross_validate(
    unsafe: Bools, scores: Floats, groups: NDArray[np.int64], goal: Goal, method: Method = "auto", seed: int = 0
) -> HeldOut:
    """Calibrate and choose the threshold on nine tenths of the rows, apply both to the rest; ten times.

    Args:
        unsafe: Labels (n,).
        scores: Raw scores (n,).
        groups: Rows of one group (n,) are never on both sides.
        goal: As for ``choose_threshold``.
        method: As for ``fit``; "auto" is settled by all the rows.
        seed: Of the folds.

    Raises:
        DataError: the unsafe or the safe rows are all of one group.
    """
    fold = _folds(unsafe, groups, seed)
    kind = method_for(unsafe, method)
    probabilities, flagged = np.zeros(len(unsafe)), np.zeros(len(unsafe), dtype=bool)
    for k in range(int(fold.max()) + 1):
        rest, held = fold != k, fold == k
        calibrate = fit(unsafe[rest], scores[rest], kind)
        threshold = choose_threshold(unsafe[rest], calibrate(scores[rest]), goal)
        probabilities[held] = calibrate(scores[held])
        flagged[held] = probabilities[held] >= threshold
    return HeldOut(probabilities, flagged)


def _folds(unsafe: Bools, groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each row: shuffled groups are sorted by their share of unsafe rows and dealt in turn."""
    _, owner = np.unique(groups, return_inverse=True)
    share = np.bincount(owner, weights=unsafe) / np.bincount(owner)
    n_folds = min(FOLDS, int((share > 0).sum()), int((share < 1).sum()))
    if n_folds < 2:
        raise DataError("all unsafe or all safe rows are of one prompt, so nothing can be held out; add other prompts")
    shuffled = np.random.default_rng(seed).permutation(len(share))
    order = shuffled[np.argsort(share[shuffled], kind="stable")]
    fold = np.empty(len(share), dtype=np.int64)
    fold[order] = np.arange(len(share)) % n_folds
    return fold[owner]


def doubts(goal: Goal, after: Figures) -> list[str]:
    """Why the slice is too small to promise ``goal``, for people; [] if it is not.

    A slice can promise a rate when it has ``goal.fewest`` rows of the kind, and when the interval of the share of wrong
    decisions among the held-out ones ends below twice what is allowed.
    """
    kind, n = ("safe", after.n_safe) if goal.kind == "fpr" else ("unsafe", after.n_unsafe)
    if n < goal.fewest:
        return [f"{n} {kind} rows are too few for a {goal} even on average; label at least {goal.fewest}"]
    worst = after.fpr_ci95[1] if goal.kind == "fpr" else 1.0 - after.recall_ci95[0]
    if worst <= 2 * goal.error:
        return []
    low, high = after.fpr_ci95 if goal.kind == "fpr" else after.recall_ci95
    return [
        f"{n} {kind} rows cannot promise a {goal}: held out, it was {100 * low:.1f} to {100 * high:.1f} % "
        f"(95 % interval); label about {_enough(goal)} {kind} rows to be surer"
    ]


def _enough(goal: Goal) -> int:
    """The rows of the kind with which the interval of ``goal.error`` ends below twice that."""
    n = goal.fewest
    while n < _MOST_ROWS and exact_interval(round(goal.error * n), n)[1] > 2 * goal.error:
        n += max(10, n // 10)
    return n
