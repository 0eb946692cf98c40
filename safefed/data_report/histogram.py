"""Score histograms as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from safefed.data_report.tally import BINS
from safefed.figures import COLOURS, svg
from safefed.screening import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR_OF: dict[Result, str] = {"kept": COLOURS[0], "revised": COLOURS[2], "dropped": COLOURS[1]}
"""In the order in which bars are stacked."""

_TALLEST = 2.5
"""A bar this many times as tall as the next is cut, or nothing else could be seen."""


def histogram(bins: Mapping[Result, Sequence[int]], threshold: float | None = None) -> str:
    """Rows by score, stacked by what became of them, as one ``<svg>``.

    Args:
        bins: For each result ``BINS`` counts of equal steps from 0 to 1.
        threshold: Where to draw a line.
    """
    from matplotlib.ticker import MaxNLocator

    def draw(axes: Axes) -> None:
        edges = [i / BINS for i in range(BINS + 1)]
        base = [0] * BINS
        for result in (result for result in COLOUR_OF if result in bins):
            top = [below + count for below, count in zip(base, bins[result], strict=True)]
            axes.stairs(top, edges, baseline=base, fill=True, color=COLOUR_OF[result])
            base = top
        axes.set_ylim(bottom=0)
        _cut(axes, base)
        if threshold is not None:
            axes.axvline(threshold, color="#808890", linestyle="--", linewidth=1)
            axes.text(threshold, 1.01, f"{threshold:.2f}", transform=axes.get_xaxis_transform(), ha="center")
        axes.set_xlim(0, 1)
        axes.set_ylabel("rows")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(axis="y")
        axes.set_axisbelow(True)

    return svg(draw, height=2.2)


def _cut(axes: Axes, totals: Sequence[int]) -> None:
    *_, second, first = sorted(totals)
    if second and first > _TALLEST * second:
        top = 1.5 * second
        axes.set_ylim(0, top)
        place = totals.index(first)
        left = place < BINS / 2
        axes.text((place + left) / BINS, top, f" {first:,} ↑ ", ha="left" if left else "right", va="top", fontsize=8)
