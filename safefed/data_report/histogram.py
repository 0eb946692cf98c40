"""The geometry of score histograms; ``data_report.html`` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safefed.data_report.tally import BINS
from safefed.screening import Result

STACKED: tuple[Result, ...] = ("kept", "revised", "dropped")
"""From the bottom up."""

LEFT, RIGHT, TOP, BOTTOM = 52, 424, 22, 164
PLOT = {"width": 440, "height": 190, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
"""The drawing, and where in it the plot is."""

_TALLEST = 2.5
"""A bar this many times as tall as the next is cut, or nothing else could be seen."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows by score, stacked by what became of them.

    Attributes:
        bars: (result, x, y, width, height) of each piece of a bar.
        rows: (y, rows) of the lines across.
        scores: (x, score) of the marks below.
        threshold: (x, score) of the dashed line, if there is one.
        cut: (x, rows) of the bar that is taller than the plot, if there is one.
    """

    bars: list[tuple[Result, float, float, float, float]]
    rows: list[tuple[float, int]]
    scores: list[tuple[float, float]]
    threshold: tuple[float, float] | None
    cut: tuple[float, int] | None


def histogram(bins: Mapping[Result, Sequence[int]], threshold: float | None = None) -> Histogram:
    """The histogram of ``bins``.

    Args:
        bins: For each result ``BINS`` counts of equal steps from 0 to 1.
        threshold: Where to draw a line.
    """
    totals = [sum(counts) for counts in zip(*bins.values(), strict=True)]
    *_, second, first = sorted(totals)
    cut = bool(second) and first > _TALLEST * second
    tallest = 1.5 * second if cut else 1.05 * first
    return Histogram(
        bars=[piece for i in range(BINS) for piece in _bar({r: bins[r][i] for r in STACKED if r in bins}, i, tallest)],
        rows=[(_y(n, tallest), n) for n in range(0, int(tallest) + 1, _step(tallest))],
        scores=[(_x(score), score) for score in (0.0, 0.25, 0.5, 0.75, 1.0)],
        threshold=None if threshold is None else (_x(threshold), threshold),
        cut=(_x((totals.index(first) + 0.5) / BINS), first) if cut else None,
    )


def _bar(counts: Mapping[Result, int], index: int, tallest: float) -> list[tuple[Result, float, float, float, float]]:
    pieces = []
    below = 0
    for result, n in counts.items():
        low, high = _y(below, tallest), _y(below + n, tallest)
        if low > high:
            width = (RIGHT - LEFT) / BINS
            pieces.append((result, round(LEFT + index * width, 2), high, round(width, 2), round(low - high, 2)))
        below += n
    return pieces


def _step(tallest: float) -> int:
    """1, 2 or 5 times a power of ten, so that there are at most five lines across."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if tallest <= 5 * step:
                return step
        size *= 10


def _x(score: float) -> float:
    return round(LEFT + score * (RIGHT - LEFT), 2)


def _y(n: float, tallest: float) -> float:
    return round(BOTTOM - min(n / tallest, 1.0) * (BOTTOM - TOP), 2)
