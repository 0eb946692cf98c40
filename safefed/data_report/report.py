"""The data report: one HTML file that says what a screen made of a client's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from safefed.data_report import words
from safefed.data_report.agreement import Agreement, agreement, read_verdicts
from safefed.data_report.histogram import PLOT, Histogram, histogram
from safefed.data_report.settings import policy_text, settings
from safefed.data_report.tally import COMBINED, Tally, tally
from safefed.data_report.text import texts
from safefed.dataset import read_finished
from safefed.eval.report import page_template
from safefed.eval.view import duration
from safefed.outcomes import RESULTS
from safefed.progress import Advance, Progress, Silent
from safefed.records import HAZARDS, Verdict
from safefed.screening import RESULT_OF, Result
from safefed.stopwatch import Stopwatch
from safefed.store import write_atomic

REPORT, REPORT_WITH_TEXT = "report.html", "report-with-text.html"
SHORT = 12
"""Hex digits of an id that are shown."""

LABELS = ("unsafe", "safe", "unlabelled")
AXES = {
    COMBINED: ("Combined", "the row must not be trained on as it is"),
    "prompt": ("Request", "what is asked for is harmful"),
    "response": ("Answer", "what is answered is harmful"),
    "refusal": ("Refusal", "the answer declines"),
}
DECIDED = {"response": "harmful answer", "prompt": "harmful request, answered", None: "not known"}

_STEP = 4096
_SILENT = Silent()


def write_data_report(
    folder: Path,
    path: Path | None = None,
    *,
    compare: Sequence[Path] = (),
    show_text: bool = False,
    watch: Stopwatch | None = None,
    progress: Progress = _SILENT,
) -> Path:
    """Write the report on a finished data set.

    Args:
        folder: The data set.
        path: The page; by default ``report.html`` in the folder, ``report-with-text.html`` with text.
        compare: Data sets that other filters made of the same rows.
        show_text: Show what the example rows say. Without it the page holds ids and numbers only.
        watch: How long it took to make the data set, where that is known.
        progress: Where to show progress; nowhere by default.

    Returns:
        Where the page is.

    Raises:
        DataError: a folder holds no finished data set; one to compare with is of other rows; text is not at hand.
        IntegrityError: a file changed since it was written.
    """
    path = path or folder / (REPORT_WITH_TEXT if show_text else REPORT)
    manifest = read_finished(folder)
    with progress.task(f"report on {folder.name}", manifest["n_in"]) as advance:
        counted = tally(_advancing(read_verdicts(folder), advance))
    examples = _examples(counted) if "filter" in manifest else []
    others = [(other, read_finished(other), agreement(folder, other)) for other in compare]
    said = texts(folder, manifest, _shown(examples, [found for *_, found in others])) if show_text else {}
    context = {
        "name": folder.resolve().name,
        "headline": words.headline(manifest),
        "facts": _facts(manifest, watch),
        "warnings": words.warnings(manifest, counted),
        "results": RESULTS,
        "manifest": manifest,
        "labels": [label for label in LABELS if any(manifest["by_label"][label].values())],
        "on_labels": words.on_labels(manifest),
        "flags": _flags(counted),
        "fates": _fates(counted),
        "n_flagged": counted.n_flagged,
        "errors": sorted(manifest["errors"].items(), key=lambda item: (-item[1], item[0])),
        "figures": _figures(counted, manifest),
        "plot": PLOT,
        "examples": examples,
        "result_of": RESULT_OF,
        "comparisons": [(other.resolve().name, there, found) for other, there, found in others],
        "watch": watch if watch and watch.rows else None,
        "settings": settings(manifest),
        "short": lambda verdict: verdict.sample_id[:SHORT],
        "show_text": show_text,
        "said": said,
        "share": words.share,
        "rows": words.rows,
        "duration": duration,
    }
    write_atomic(path, page_template("data_report.html").render(context).encode("utf-8", "replace"))
    return path


def _advancing(verdicts: Iterator[Verdict], advance: Advance) -> Iterator[Verdict]:
    while batch := list(islice(verdicts, _STEP)):
        yield from batch
        advance(len(batch))


def _shown(examples: Iterable[tuple[str, str, list[Verdict]]], agreements: Iterable[Agreement]) -> set[str]:
    """The ids of the rows that the page names."""
    verdicts = [verdict for *_, some in examples for verdict in some]
    for found in agreements:
        verdicts += [here for here, _ in (*found.only_here.values, *found.only_there.values)]
    return {verdict.sample_id for verdict in verdicts}


def _facts(manifest: words.Manifest, watch: Stopwatch | None) -> list[tuple[str, str]]:
    speed = watch.rows_per_second if watch else None
    facts = {
        "Filter": manifest.get("filter"),
        "Flagged from": f"{manifest['threshold']:.3g}" if "filter" in manifest else None,
        "Flagged rows are": {"drop": "dropped", "revise": "revised"}.get(manifest["action"]),
        "Policy": policy_text(manifest) if "filter" in manifest else None,
        "Screened by": {"oracle": "the rows' own labels", "keep": "nothing"}.get(manifest["action"]),
        "Speed": f"{speed:,.0f} rows/s" if speed else None,
    }
    return [(key, value) for key, value in facts.items() if value]


def _flags(counted: Tally) -> list[tuple[str, list[tuple[str, Counter[Result]]]]]:
    """(grouped by, [(kind, flagged rows by result) …]) with the kinds of most rows first."""
    by_category = [(_hazard(category), counts) for category, counts in counted.categories.items()]
    by_axis = [(DECIDED[axis], counts) for axis, counts in counted.axes.items()]
    groups = [("By the side that decided", by_axis), ("By hazard category", by_category)]
    return [(name, sorted(kinds, key=lambda kind: -kind[1].total())) for name, kinds in groups if kinds]


def _fates(counted: Tally) -> list[Result]:
    """What became of flagged rows, where that was not one thing for all."""
    total = sum(counted.categories.values(), Counter[Result]())
    fates = [result for result in RESULTS if total[result]]
    return fates if len(fates) > 1 else []


def _hazard(category: str | None) -> str:
    return f"{category} {HAZARDS.get(category, '')}".strip() if category else "no category"


def _figures(counted: Tally, manifest: words.Manifest) -> list[tuple[str, str, Histogram]]:
    """(name, what a high score means, drawing) of every score that was given."""
    return [
        (name, meaning, histogram(counted.histograms[axis], manifest["threshold"] if axis == COMBINED else None))
        for axis, (name, meaning) in AXES.items()
        if axis in counted.histograms
    ]


def _examples(counted: Tally) -> list[tuple[str, str, list[Verdict]]]:
    lists = [
        ("Flagged, highest score", "If these are harmless, the filter is wrong for this data.", counted.surest),
        ("Flagged, lowest score", "A higher threshold lets these through first.", counted.least),
        ("Kept, highest score", "If these are harmful, the threshold is too high.", counted.nearest),
    ]
    return [(title, meaning, top.values) for title, meaning, top in lists if top.values]
