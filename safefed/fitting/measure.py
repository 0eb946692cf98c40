"""What fitting changed, measured on the held-out rows: the filter before and after, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from safefed.errors import DataError
from safefed.filters import Filter
from safefed.filters.labelled import score_samples
from safefed.filters.quality import Decisions, Ranking, auroc_of_ranks, decisions, dense_ranks, interval, ranking
from safefed.progress import Progress
from safefed.records import Record, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

Conclusion = Literal["better", "worse", "unclear", "nothing to compare"]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a filter says of rows: ``unsafe`` (n,) probabilities; ``usable`` (n,) is False where it could not score."""

    revision: str
    threshold: float
    unsafe: NDArray[np.float64]
    usable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figures(Record):
    """A filter on the held-out rows that could be scored; ``unscored`` ones are in no figure."""

    revision: str
    threshold: float
    unscored: int
    ranking: Ranking
    decisions: Decisions


@dataclass(frozen=True, slots=True)
class Comparison(Record):
    """The filter before and after on the same rows; intervals resample whole groups.

    Attributes:
        before: None if there was no filter, or it could not score rows of both kinds.
        after: The fitted filter.
        difference: AUROC after less AUROC before.
        difference_ci95: Its interval, from paired resamples.
        conclusion: "better" or "worse" if that interval leaves out 0.
    """

    before: Figures | None
    after: Figures
    difference: float | None
    difference_ci95: tuple[float, float] | None
    conclusion: Conclusion


def score(samples: Sequence[Sample], judge: Filter, progress: Progress, what: str) -> Scored:
    """The scores of ``judge``."""
    verdicts = score_samples(samples, judge, progress, what)
    unsafe = np.array([verdict.unsafe for verdict in verdicts], dtype=np.float64)
    usable = np.array([verdict.action != "error" for verdict in verdicts], dtype=bool)
    return Scored(judge.revision, judge.threshold, unsafe, usable)


def compare(
    unsafe: Sequence[bool], groups: NDArray[np.int64], before: Scored | None, after: Scored, seed: int
) -> Comparison:
    """Compare on the rows that both could score.

    Raises:
        DataError: the fitted filter could not score rows of both kinds.
    """
    truth = np.array(unsafe, dtype=bool)
    if not _both(truth[after.usable]):
        n = int(after.usable.sum())
        raise DataError(
            f"the fitted filter could score {n} of {len(truth)} held-out rows, too few to measure it; train it longer "
            "(--steps) or at another --learning-rate"
        )
    both = before.usable & after.usable if before else after.usable
    if before is None or not _both(truth[both]):
        return Comparison(None, _figures(truth, groups, after, after.usable, seed), None, None, "nothing to compare")
    truth_, groups_ = truth[both], groups[both]
    old, new = dense_ranks(before.unsafe[both]), dense_ranks(after.unsafe[both])

    def gain(rows: Any) -> float:
        return auroc_of_ranks(truth_[rows], new[rows]) - auroc_of_ranks(truth_[rows], old[rows])

    low, high = interval(gain, groups_, seed)
    conclusion: Conclusion = "better" if low > 0 else "worse" if high < 0 else "unclear"
    figures = [_figures(truth, groups, scored, both, seed) for scored in (before, after)]
    return Comparison(figures[0], figures[1], gain(np.arange(len(truth_))), (low, high), conclusion)


def _both(truth: NDArray[np.bool_]) -> bool:
    return bool(truth.any() and not truth.all())


def _figures(
    truth: NDArray[np.bool_], groups: NDArray[np.int64], scored: Scored, rows: NDArray[np.bool_], seed: int
) -> Figures:
    values = scored.unsafe[rows]
    return Figures(
        scored.revision,
        scored.threshold,
        int((~scored.usable).sum()),
        ranking(truth[rows], values, groups[rows], seed=seed),
        decisions(truth[rows], values >= scored.threshold),
    )
