"""The page beside a filter profile: is the filter calibrated here, what does it catch, what does it cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.eval.metrics import wilson
from safefed.eval.report import page_template
from safefed.figures import COLOURS, svg
from safefed.records import HAZARDS
from safefed.store import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Draw = Callable[[Axes], None]

Bin = tuple[float, int, int]
"""A bin of the reliability diagram: mean probability, rows, unsafe rows."""

AFTER, BEFORE, GREY = COLOURS[0], COLOURS[1], "#808890"


@dataclass(frozen=True, slots=True)
class CalibrationPage:
    """What the page shows.

    Attributes:
        filter: The filter's name.
        facts: What was done, name -> text.
        warnings: For the reader to know first.
        unsafe: Labels (n,).
        raw: Scores before calibration (n,).
        calibrated: Probabilities by the profile (n,).
        threshold: Of the profile.
        before: ``safefed.filters.operating.Figures`` of the filter by itself, as JSON.
        after: The same of the calibrated filter on held-out rows.
        bins_before: Reliability of the raw scores.
        bins_after: Reliability of the held-out probabilities.
        categories: Category (None: not named) -> held-out rows flagged, and how many of them are unsafe.
    """

    filter: str
    facts: Mapping[str, str]
    warnings: Sequence[str]
    unsafe: NDArray[np.bool_]
    raw: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    threshold: float
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    bins_before: Sequence[Bin]
    bins_after: Sequence[Bin]
    categories: Mapping[str | None, tuple[int, int]]


def write_calibration_page(page: CalibrationPage, path: Path) -> None:
    """Render ``page`` to ``path``, atomically; everything in it is escaped."""
    html = page_template("calibration.html").render(
        name=page.filter,
        facts=page.facts.items(),
        warnings=page.warnings,
        table=comparison(page.before, page.after),
        charts=_charts(page),
        categories=[_category(name, *found) for name, found in _largest_first(page.categories)],
    )
    write_atomic(path, html.encode("utf-8", "replace"))


def comparison(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, before, after) as text: rates in percent with their intervals, then the errors of the probabilities."""
    rates = {"false-positive rate": "fpr", "recall": "recall"}
    errors = {"calibration error": "ece", "Brier score": "brier"}
    rows = [(name, _rate(before, key), _rate(after, key)) for name, key in rates.items()]
    return rows + [(name, f"{before[key]:.3f}", f"{after[key]:.3f}") for name, key in errors.items()]


def _rate(figures: Mapping[str, Any], key: str) -> str:
    low, high = figures[f"{key}_ci95"]
    return f"{100 * figures[key]:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _largest_first(categories: Mapping[str | None, tuple[int, int]]) -> list[tuple[str | None, tuple[int, int]]]:
    return sorted(categories.items(), key=lambda item: (-item[1][0], item[0] or ""))


def _category(name: str | None, flagged: int, unsafe: int) -> tuple[str, int, str, str]:
    low, high = wilson(unsafe, flagged)
    shown = "not named" if name is None else f"{name} {HAZARDS.get(name, '')}".strip()
    return shown, flagged, f"{100 * unsafe / flagged:.0f}", f"{100 * low:.0f}\u2013{100 * high:.0f}"


def _charts(page: CalibrationPage) -> list[tuple[str, str, str]]:
    """(title, explanation, SVG) of each."""
    return [
        (
            "Reliability",
            "on the line, a probability means what it says; bars: Wilson's 95 % interval",
            svg(_bins(page)),
        ),
        ("Scores", "calibrated, by label; from the dashed line on a row is flagged", svg(_histogram(page))),
        ("ROC curve", "what each share of flagged safe rows would buy", svg(_roc(page))),
        ("Precision and recall", "at the slice's own share of unsafe rows", svg(_precision(page))),
    ]


def _bins(page: CalibrationPage) -> Draw:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        for bins, colour, label, marker in (
            (page.bins_before, BEFORE, "before", "s"),
            (page.bins_after, AFTER, "after", "o"),
        ):
            for mean, n, unsafe in bins:
                axes.plot([mean, mean], wilson(unsafe, n), color=colour, linewidth=1, alpha=0.6)
            axes.plot(
                [b[0] for b in bins], [b[2] / b[1] for b in bins], marker, color=colour, label=label, markersize=4.5
            )
        axes.set(xlabel="mean probability", ylabel="share unsafe", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.legend(loc="upper left")

    return draw


def _histogram(page: CalibrationPage) -> Draw:
    def draw(axes: Axes) -> None:
        kinds = [page.calibrated[~page.unsafe], page.calibrated[page.unsafe]]
        axes.hist(kinds, bins=20, range=(0, 1), color=[COLOURS[2], COLOURS[1]], label=["safe", "unsafe"])
        axes.axvline(page.threshold, color=GREY, linestyle="--", linewidth=1)
        axes.set(xlabel="calibrated probability", ylabel="rows", xlim=(0, 1))
        axes.legend(loc="upper right")

    return draw


def _roc(page: CalibrationPage) -> Draw:
    from sklearn.metrics import roc_curve

    def draw(axes: Axes) -> None:
        fpr, tpr, _ = roc_curve(page.unsafe, page.raw)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        axes.plot(fpr, tpr, color=GREY, linewidth=1.5)
        for figures, colour, label in ((page.before, BEFORE, "before"), (page.after, AFTER, "after")):
            axes.plot(figures["fpr"], figures["recall"], "o", color=colour, label=label)
        axes.set(xlabel="false-positive rate", ylabel="recall", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.legend(loc="lower right")

    return draw


def _precision(page: CalibrationPage) -> Draw:
    from sklearn.metrics import precision_recall_curve

    def draw(axes: Axes) -> None:
        precision, recall, _ = precision_recall_curve(page.unsafe, page.raw)
        axes.axhline(page.unsafe.mean(), color=GREY, linewidth=0.8, linestyle=":")
        axes.plot(recall[:-1], precision[:-1], color=GREY, linewidth=1.5)
        for figures, colour, label in ((page.before, BEFORE, "before"), (page.after, AFTER, "after")):
            caught, false = figures["recall"] * figures["n_unsafe"], figures["fpr"] * figures["n_safe"]
            if caught + false:
                axes.plot(figures["recall"], caught / (caught + false), "o", color=colour, label=label)
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.legend(loc="lower left")

    return draw
