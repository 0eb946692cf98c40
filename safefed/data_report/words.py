"""What the data report says in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from safefed.data_report.tally import Tally

MANY_ERRORS = 0.02
MANY_FLAGGED = 0.5

Manifest = Mapping[str, Any]


def headline(manifest: Manifest) -> str:
    """Everything in one sentence: "Of 10 rows 7 were kept, 2 dropped, and 1 could not be used."."""
    n_in = manifest["n_in"]
    if manifest["kept"] == n_in:
        return f"All {rows(n_in)} were kept." if n_in != 1 else "The one row was kept."
    counts = [(manifest[result], result) for result in ("kept", "revised", "dropped") if manifest[result]]
    parts = [f"{n:,} {'' if i else _were(n)}{result}" for i, (n, result) in enumerate(counts)]
    if manifest["errored"]:
        parts.append(f"{manifest['errored']:,} could not be used")
    return f"Of {rows(n_in)} {_list(parts)}."


def rows(n: int) -> str:
    """``n`` rows."""
    return f"{n:,} row{'' if n == 1 else 's'}"


def _were(n: int) -> str:
    return "was " if n == 1 else "were "


def _list(parts: list[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def share(n: int, total: int) -> str:
    """``n`` of ``total`` in percent; a share that is not 0 or 100 % is never rounded to it."""
    if n in (0, total):
        return "100 %" if n else "0 %"
    percent = 100 * n / total
    return "< 0.1 %" if percent < 0.1 else "> 99.9 %" if percent > 99.9 else f"{percent:.1f} %"


def on_labels(manifest: Manifest) -> str:
    """How the outcome fits the rows' own labels; that it cannot be told where there are none."""
    parts = []
    for label in ("unsafe", "safe"):
        counts = manifest["by_label"][label]
        n, acted = sum(counts.values()), counts["revised"] + counts["dropped"]
        if n:
            parts.append(f"Of {rows(n)} labelled {label}, {acted:,} ({share(acted, n)}) were revised or dropped.")
    return " ".join(parts) or "No row has a label of its own, so nothing here says how often the screen is right."


def warnings(manifest: Manifest, tally: Tally) -> list[str]:
    """What to look at before training on this data."""
    return [*_on_the_screen(manifest, tally), *_on_the_outcome(manifest, tally)]


def _on_the_screen(manifest: Manifest, tally: Tally) -> Iterator[str]:
    if manifest["action"] == "keep":
        yield "Nothing was screened: every readable row was kept as it is."
    if manifest["action"] == "oracle" and manifest["unlabelled"]:
        yield f"{rows(manifest['unlabelled'])} without a label: kept unseen."
    if "filter" not in manifest:
        return
    if text := drifted(manifest):
        yield f"{text[0].upper()}{text[1:]}."
    n_scored = tally.results.total() - tally.results["errored"]
    if n_scored and tally.n_flagged == n_scored:
        yield (
            "Every row that could be screened was flagged. Such a screen tells nothing apart: check the columns "
            "that are read as request and answer, and the threshold."
        )
    elif tally.n_flagged > MANY_FLAGGED * n_scored:
        yield (
            f"{share(tally.n_flagged, n_scored)} of the rows were flagged. If most of this data is harmless, the "
            "threshold does not fit it: label some of the rows below and calibrate on them."
        )


def drifted(manifest: Manifest) -> str | None:
    """What to know of rows that score unlike those of the filter's profile; None if they score alike."""
    drift = manifest.get("drift")
    if not drift or not drift["drifted"]:
        return None
    return (
        f"the scores of these {drift['n']:,} rows no longer look like those of the {drift['n_profile']:,} that "
        f"{manifest['filter']} was made on (Kolmogorov-Smirnov {drift['statistic']:.2f}, limit {drift['limit']:.2f}), "
        "so its threshold may not hold; label a new random slice of them and run safefed calibrate again"
    )


def _on_the_outcome(manifest: Manifest, tally: Tally) -> Iterator[str]:
    if manifest["errored"] > MANY_ERRORS * manifest["n_in"]:
        yield f"{rows(manifest['errored'])} ({share(manifest['errored'], manifest['n_in'])}) could not be used."
    if manifest["policy_kept"]:
        yield f"The policy kept {rows(manifest['policy_kept'])} that the filter flagged."
    if manifest.get("policy", {}).get("category") and tally.n_flagged and set(tally.categories) == {None}:
        yield "The policy has rules for hazard categories, but this filter names none, so they changed nothing."
    if 2 * manifest["fallbacks"] > manifest["revised"]:
        yield (
            f"{manifest['fallbacks']:,} of {rows(manifest['revised'])} that were revised got a refusal template for an "
            "answer, since no revision passed the screen."
        )
