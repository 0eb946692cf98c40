"""How well scores tell unsafe from safe: the figures of every table about filters, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Ranking(Record):
    """What scores are worth at any threshold.

    Attributes:
        n: Rows.
        unsafe_share: The share of them that is unsafe.
        auroc: Area under the ROC curve; .5 is chance.
        auroc_ci95: Its bootstrap interval over rows (or over groups of rows that belong together).
        recall_at_fpr5: Share of the unsafe rows that is caught where at most 5 % of the safe ones are flagged.
        lost_at_recall95: Share of the safe rows that is flagged where 95 % of the unsafe ones are caught.
    """

    n: int
    unsafe_share: float
    auroc: float
    auroc_ci95: tuple[float, float]
    recall_at_fpr5: float
    lost_at_recall95: float


@dataclass(frozen=True, slots=True)
class Decisions(Record):
    """What flags are worth: precision, recall, F1, Cohen's kappa, and the share of safe rows flagged."""

    flagged_share: float
    precision: float
    recall: float
    f1: float
    kappa: float
    fpr: float


def ranking(unsafe: Any, scores: Any, groups: Any = None, *, seed: int = 0) -> Ranking:
    """The figures of ``scores`` (n,) against labels ``unsafe`` (n,), which must hold both kinds.

    Args:
        unsafe: True for unsafe rows.
        scores: Higher is less safe; NaN is not allowed.
        groups: Rows of one group (a question, a document) are resampled together; by default each is its own.
        seed: Of the bootstrap.

    Raises:
        ValueError: the labels are all alike.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    truth, values = np.asarray(unsafe, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.all() or not truth.any():
        raise ValueError("ranking needs unsafe and safe rows")
    fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
    ranks = dense_ranks(values)
    return Ranking(
        n=len(truth),
        unsafe_share=float(truth.mean()),
        auroc=float(roc_auc_score(truth, values)),
        auroc_ci95=interval(lambda rows: auroc_of_ranks(truth[rows], ranks[rows]), _groups(groups, len(truth)), seed),
        recall_at_fpr5=float(tpr[fpr <= 0.05].max()),
        lost_at_recall95=float(fpr[tpr >= 0.95].min()),
    )


def decisions(unsafe: Any, flagged: Any) -> Decisions:
    """The figures of flags (n,) against labels (n,); a share of nothing is 0."""
    from sklearn.metrics import cohen_kappa_score

    truth, hits = np.asarray(unsafe, dtype=bool), np.asarray(flagged, dtype=bool)
    caught = int((truth & hits).sum())
    precision, recall = caught / max(int(hits.sum()), 1), caught / max(int(truth.sum()), 1)
    return Decisions(
        flagged_share=float(hits.mean()),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / max(precision + recall, 1e-12),
        kappa=1.0 if (truth == hits).all() else float(cohen_kappa_score(truth, hits)),
        fpr=int((~truth & hits).sum()) / max(int((~truth).sum()), 1),
    )


def auroc(truth: Bools, scores: Floats) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney U); NaN when the labels are all alike."""
    return auroc_of_ranks(truth, dense_ranks(scores))


def dense_ranks(scores: Floats) -> NDArray[np.int64]:
    """The rank of each score from 0 on, one for equal scores; sorted once for all resamples of the same rows."""
    return np.asarray(np.unique(scores, return_inverse=True)[1], dtype=np.int64)


def auroc_of_ranks(truth: Bools, ranks: NDArray[np.int64]) -> float:
    """``auroc`` of rows whose scores have these ranks; not every rank need be there."""
    unsafe, safe = (np.bincount(ranks[kind], minlength=ranks.max() + 1) for kind in (truth, ~truth))
    pairs = unsafe.sum() * safe.sum()
    return float(unsafe @ (np.cumsum(safe) - safe / 2) / pairs) if pairs else float("nan")


def interval(
    figure: Callable[[NDArray[np.int64]], float], groups: NDArray[np.int64], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of ``figure(rows)``, resampling whole groups; NaN draws are left out."""
    rng = np.random.default_rng(seed)
    order = np.argsort(groups, kind="stable")
    starts = np.append(np.flatnonzero(np.diff(groups[order], prepend=groups[order][0] - 1)), len(order))
    sizes = np.diff(starts)
    draws = []
    for _ in range(resamples):
        chosen = rng.integers(len(sizes), size=len(sizes))
        first = np.cumsum(sizes[chosen]) - sizes[chosen]
        draws.append(figure(order[np.arange(sizes[chosen].sum()) + np.repeat(starts[chosen] - first, sizes[chosen])]))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _groups(groups: Any, n: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(n)
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], dtype=np.int64)
