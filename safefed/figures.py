"""Plots as SVG text for self-contained pages, readable on light and on dark paper."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2f7ed8", "#d9642c", "#4a9c5d", "#9b6bb3")
"""Of the first, second … series: told apart on white and on black, and by the colour-blind."""

_INK = "#808890"
_STYLE = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "font.family": "sans-serif",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "safefed",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def svg(draw: Callable[[Axes], None], *, width: float = 4.2, height: float = 3.0) -> str:
    """What ``draw`` puts on its axes, as one ``<svg>`` element; equal drawings give equal text.

    Args:
        draw: Called once with empty axes.
        width: Inches.
        height: Inches.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type]  # its keys are a Literal of every setting
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        out = StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = out.getvalue()
    return text[text.index("<svg") :].strip()
