"""Do new rows still look like those a profile was made on? Two histograms of raw scores, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log, sqrt

from safefed.filters.calibration import SMALLEST
from safefed.records import Record

RAW = "raw"
"""The key in ``Verdict.scores`` under which a calibrated verdict keeps the score before calibration."""

N_BINS, _REACH, _PER_UNIT = 66, 8, 4
CRITICAL, MINIMAL = 1.628, 0.1
_COUNT = "score "


@dataclass(frozen=True, slots=True)
class Drift(Record):
    """How far two samples of scores are apart.

    Attributes:
        statistic: The two-sample Kolmogorov-Smirnov statistic of the binned scores: the largest difference between the
            shares of rows below any bin's edge.
        limit: What it may be: 1.628 sqrt(1/n + 1/m), which chance exceeds in 1 % of cases (binning makes it fewer),
            but at least 0.1: less changes no decision worth a warning, however many rows show it.
        n: New rows.
        n_profile: Rows of the profile.
        drifted: Whether the statistic is above the limit.
    """

    statistic: float
    limit: float
    n: int
    n_profile: int
    drifted: bool


def score_bin(score: float) -> int:
    """The bin of a raw score in [0, 1]: 0.25 wide on the logit scale from -8 to 8, one more at each end."""
    clipped = min(max(score, SMALLEST), 1.0 - SMALLEST)
    position = floor((log(clipped / (1.0 - clipped)) + _REACH) * _PER_UNIT)
    return min(max(position + 1, 0), N_BINS - 1)


def histogram(scores: Sequence[float]) -> list[int]:
    """Rows in each of the 66 bins."""
    counts = [0] * N_BINS
    for score in scores:
        counts[score_bin(score)] += 1
    return counts


def count_name(scores: Mapping[str, float]) -> str | None:
    """Under which name screening counts a verdict with these ``scores``; None if it holds no raw score."""
    return f"{_COUNT}{score_bin(scores[RAW])}" if RAW in scores else None


def counted(counts: Mapping[str, int]) -> list[int]:
    """The histogram that screening counted under ``count_name``."""
    return [counts.get(f"{_COUNT}{bin_}", 0) for bin_ in range(N_BINS)]


def compare(profile: Sequence[int], new: Sequence[int]) -> Drift | None:
    """The drift between two histograms; None if one is empty."""
    n_profile, n = sum(profile), sum(new)
    if not n_profile or not n:
        return None
    furthest = before = after = 0.0
    for there, here in zip(profile, new, strict=True):
        before, after = before + there / n_profile, after + here / n
        furthest = max(furthest, abs(before - after))
    limit = max(CRITICAL * sqrt(1 / n + 1 / n_profile), MINIMAL)
    return Drift(round(furthest, 6), round(limit, 6), n, n_profile, furthest > limit)
