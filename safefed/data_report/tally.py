"""One pass over a data set's verdicts: counts, histograms and the few rows worth a look, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from safefed.filters.combine import deciding_axis
from safefed.policy import flagged
from safefed.records import Verdict
from safefed.screening import RESULT_OF, Result

T = TypeVar("T")

BINS = 40
"""Of a histogram over [0, 1]."""

TOP = 8
"""Rows in a list of examples."""

COMBINED = "combined"
"""The histogram of the unsafe probability itself, beside those of the axes."""


class Top(Generic[T]):
    """The ``size`` values with the greatest ranks, one per key."""

    def __init__(self, size: int = TOP) -> None:
        self._size = size
        self._heap: list[tuple[float, str]] = []
        self._values: dict[str, T] = {}

    def add(self, rank: float, key: str, value: T) -> None:
        """Offer a value; of equal ranks the greater key stays, so that the order of the offers does not matter."""
        if key in self._values or (len(self._heap) == self._size and (rank, key) < self._heap[0]):
            return
        self._values[key] = value
        heapq.heappush(self._heap, (rank, key))
        if len(self._heap) > self._size:
            del self._values[heapq.heappop(self._heap)[1]]

    @property
    def values(self) -> list[T]:
        """The greatest rank first."""
        return [self._values[key] for _, key in sorted(self._heap, reverse=True)]


def _bins() -> defaultdict[Result, list[int]]:
    return defaultdict(lambda: [0] * BINS)


@dataclass(slots=True)
class Tally:
    """What verdicts add up to.

    Attributes:
        results: Rows by what became of them.
        categories: Flagged rows by hazard category and result; ``None`` is the category of what has none.
        axes: Flagged rows by the axis that decided and result.
        histograms: Rows by score: for each axis scored and ``COMBINED``, by result, ``BINS`` counts. Errors have
            no score.
        surest: The flagged rows with the highest scores.
        least: The flagged rows with the lowest scores.
        nearest: The kept rows with the highest scores.
    """

    results: Counter[Result] = field(default_factory=Counter)
    categories: defaultdict[str | None, Counter[Result]] = field(default_factory=lambda: defaultdict(Counter))
    axes: defaultdict[str | None, Counter[Result]] = field(default_factory=lambda: defaultdict(Counter))
    histograms: defaultdict[str, defaultdict[Result, list[int]]] = field(default_factory=lambda: defaultdict(_bins))
    surest: Top[Verdict] = field(default_factory=Top)
    least: Top[Verdict] = field(default_factory=Top)
    nearest: Top[Verdict] = field(default_factory=Top)

    def add(self, verdict: Verdict) -> None:
        """Count one row."""
        result = RESULT_OF[verdict.action]
        self.results[result] += 1
        if verdict.action == "error":
            return
        self._score(verdict.scores, verdict.unsafe, result)
        if flagged(verdict):
            self.categories[verdict.category][result] += 1
            self.axes[deciding_axis(verdict.scores)][result] += 1
            self.surest.add(verdict.unsafe, verdict.sample_id, verdict)
            self.least.add(-verdict.unsafe, verdict.sample_id, verdict)
        if result == "kept":
            self.nearest.add(verdict.unsafe, verdict.sample_id, verdict)

    def _score(self, scores: Mapping[str, float], unsafe: float, result: Result) -> None:
        for axis, value in scores.items():
            self.histograms[axis][result][min(int(value * BINS), BINS - 1)] += 1
        if scores:
            self.histograms[COMBINED][result][min(int(unsafe * BINS), BINS - 1)] += 1

    @property
    def n_flagged(self) -> int:
        """Rows found unsafe, whatever became of them."""
        return sum(counts.total() for counts in self.categories.values())


def tally(verdicts: Iterable[Verdict]) -> Tally:
    """Count ``verdicts``."""
    result = Tally()
    for verdict in verdicts:
        result.add(verdict)
    return result
