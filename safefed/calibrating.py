"""From a labelled slice of local rows to a filter profile: what the filter's scores mean here, and where to cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.config import SourceConfig, parse
from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.eval.calibration_page import Bin, CalibrationPage, write_calibration_page
from safefed.filters import Filter, load_filter
from safefed.filters.calibration import Method, fit, reliability
from safefed.filters.drift import histogram
from safefed.filters.labelled import Slice, read_slice
from safefed.filters.operating import Goal, choose_threshold, cross_validate, doubts, figures
from safefed.filters.profile import KIND, Profile, read_profile, write_profile
from safefed.filters.quality import ranking
from safefed.progress import Progress, Silent
from safefed.records import content_hash

if TYPE_CHECKING:
    from safefed.filters.calibration import Bools, Floats
    from safefed.filters.operating import HeldOut

_SILENT = Silent()


def calibrate(
    source: str | Path | SourceConfig,
    out: str | Path,
    *,
    filter: str = "linear",
    method: Method = "auto",
    fpr: float | None = None,
    recall: float | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> dict[str, Any]:
    """Make a profile of ``filter`` from labelled rows, to be used as the filter ``profile:OUT``.

    Rows without a label, that cannot be read or scored, that are repeated or labelled both ways are counted and left
    out. Rows of one prompt stay together in the cross-validation. The same rows give the same profile.

    Args:
        source: A file with its options; ``label`` names the column of the label.
        out: Where the profile goes, ``*.json``; a page for people goes beside it as ``*.html``. A profile that is there
            is replaced, anything else is not.
        filter: As in the configuration.
        method: "platt", "isotonic", or "auto": isotonic from 1,000 rows on with 100 of each kind, else Platt.
        fpr: The share of safe rows that may be flagged; 0.05 by default.
        recall: Instead of ``fpr``, the share of unsafe rows that is to be flagged.
        seed: Of the folds and the bootstrap.
        progress: Where to show progress.

    Returns:
        The profile as JSON; also ``rows`` (``n_in`` and what was left out, by reason), ``warnings`` and ``page``.

    Raises:
        ConfigError: no label column, no such filter, impossible rates, or ``out`` is something else.
        DataError: the source cannot be read, has fewer than 20 labelled rows or 5 of a kind, or the filter does not
            rank them at all.
    """
    goal, path = _goal(fpr, recall), _free(Path(out))
    source = source if isinstance(source, SourceConfig) else SourceConfig(path=str(source))
    if source.label is None:
        raise ConfigError("calibration needs labelled rows; name the column of the label: --label COL")
    rows = read_slice(source, judge := _judge(filter), progress)
    held_out = cross_validate(rows.unsafe, rows.raw, rows.groups, goal, method, seed)
    profile = _profile(judge, rows, held_out, goal, method, seed)
    warnings = [*_no_ranking(profile), *doubts(goal, profile.after)]
    write_calibration_page(_page(profile, rows, held_out, warnings), path.with_suffix(".html"))
    write_profile(profile, path)
    page = str(path.with_suffix(".html"))
    return {**profile.model_dump(mode="json"), "rows": dict(rows.counts), "warnings": warnings, "page": page}


def _goal(fpr: float | None, recall: float | None) -> Goal:
    if fpr is not None and recall is not None:
        raise ConfigError("a threshold can hold one rate; give --fpr or --recall, not both")
    if recall is not None:
        return parse(Goal, {"kind": "recall", "rate": recall}, "the wanted recall")
    return parse(Goal, {"kind": "fpr", "rate": 0.05 if fpr is None else fpr}, "the wanted false-positive rate")


def _free(path: Path) -> Path:
    if path.suffix != ".json":
        raise ConfigError(f"{path} cannot be a profile; give a name that ends in .json, e.g. --out {path.stem}.json")
    if path.exists():
        try:
            read_profile(path)
        except (ConfigError, IntegrityError):
            raise ConfigError(f"{path} is there and is no whole profile; give another --out or delete it") from None
    return path


def _judge(name: str) -> Filter:
    if name.partition(":")[0] == KIND:
        raise ConfigError(f"{name} is calibrated already; give the filter itself, e.g. --filter linear")
    return load_filter(name)


def _profile(judge: Filter, rows: Slice, held_out: HeldOut, goal: Goal, method: Method, seed: int) -> Profile:
    ranked = ranking(rows.unsafe, rows.raw, rows.groups, seed=seed)
    calibration = fit(rows.unsafe, rows.raw, method)
    if calibration.flat:
        raise DataError(
            f"filter {judge.name!r} ranks these rows no better than chance (AUROC {ranked.auroc:.2f}), which no "
            "threshold can mend; choose another --filter, or check that the labels are the right way round"
        )
    return Profile(
        filter=judge.name,
        filter_revision=judge.revision,
        calibration=calibration,
        goal=goal,
        threshold=choose_threshold(rows.unsafe, calibration(rows.raw), goal),
        before=figures(rows.unsafe, rows.raw, rows.flagged),
        after=figures(rows.unsafe, held_out.probabilities, held_out.flagged),
        n=ranked.n,
        unsafe_share=ranked.unsafe_share,
        auroc=ranked.auroc,
        auroc_ci95=list(ranked.auroc_ci95),
        scores=histogram(rows.raw.tolist()),
        rows_sha256=content_hash(sorted(rows.ids)),
    )


def _no_ranking(profile: Profile) -> list[str]:
    low, high = profile.auroc_ci95
    if low > 0.5:
        return []
    return [
        f"the filter may rank these rows no better than chance (AUROC {profile.auroc:.2f}, {low:.2f} to {high:.2f}), "
        "which no threshold can mend; label more rows or choose another filter"
    ]


def _page(profile: Profile, rows: Slice, held_out: HeldOut, warnings: Sequence[str]) -> CalibrationPage:
    low, high = profile.auroc_ci95
    return CalibrationPage(
        filter=profile.filter,
        facts={
            "Labelled rows": f"{profile.n}, {100 * profile.unsafe_share:.0f} % unsafe",
            "AUROC": f"{profile.auroc:.3f} ({low:.3f} to {high:.3f})",
            "Method": profile.calibration.method,
            "Threshold": f"{profile.threshold:.4f} for a {profile.goal}",
            "Filter revision": profile.filter_revision[:12],
        },
        warnings=warnings,
        unsafe=rows.unsafe,
        raw=rows.raw,
        calibrated=profile.calibration(rows.raw),
        threshold=profile.threshold,
        before=profile.before.model_dump(),
        after=profile.after.model_dump(),
        bins_before=_bins(rows.unsafe, rows.raw),
        bins_after=_bins(rows.unsafe, held_out.probabilities),
        categories=_by_category(rows, held_out.flagged),
    )


def _bins(unsafe: Bools, probabilities: Floats) -> list[Bin]:
    return [(found.mean, found.n, found.n_unsafe) for found in reliability(unsafe, probabilities)]


def _by_category(rows: Slice, flagged: Bools) -> dict[str | None, tuple[int, int]]:
    hits = [(category, bool(rows.unsafe[i])) for i, category in enumerate(rows.categories) if flagged[i]]
    n, n_unsafe = Counter(category for category, _ in hits), Counter(category for category, bad in hits if bad)
    return {category: (n[category], n_unsafe[category]) for category in n}
