"""``safefed fit-filter``: labelled rows in, a filter that knows them out, with figures on rows it never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safefed import __version__
from safefed.config import SourceConfig
from safefed.errors import ConfigError
from safefed.filters.registry import make_filter
from safefed.fitting.data import CATEGORY, Labelled, answers_seen, read_labelled, split
from safefed.fitting.fitters import check_kind, make_fitter
from safefed.fitting.measure import compare, score
from safefed.fitting.settings import DEFAULTS, FitTraining, make_plan
from safefed.progress import Progress, Silent
from safefed.records import Sample, content_hash
from safefed.sources import source_files
from safefed.splitting import Split
from safefed.store import new_folder, sha256_file, write_json, write_manifest

FIT = "fit.json"
_SILENT = Silent()


def fit_filter(
    source: str | Path | SourceConfig,
    out: str | Path,
    *,
    filter: str = "linear",
    held_out: float = 0.2,
    group: str | None = None,
    category: str | None = None,
    training: FitTraining = FitTraining(),  # noqa: B008  # frozen
    seed: int = 0,
    progress: Progress = _SILENT,
) -> dict[str, Any]:
    """Fit ``filter`` to labelled rows; the result is the filter ``KIND:OUT``.

    Some of the rows are held out by whole groups: no prompt, no near repetition of one and no ``group`` is both fitted
    on and measured on. Rows without a label, that cannot be read, that are repeated or labelled both ways are counted
    and left out. Equal arguments give equal weights on one machine with one thread count.

    Args:
        source: A file with its options; ``label`` names the column of the label.
        out: The folder to make. It appears when all is done, and not at all if that fails.
        filter: "linear", "embedding", "classifier:PATH" or "guard:PATH".
        held_out: The share of the rows to measure on.
        group: The column of what else must stay together: a question, a document, a patient.
        category: The column of the hazard (S1 to S14), which heads and guards learn to name.
        training: For the kinds "classifier" and "guard".
        seed: Of the split, the training and the bootstrap.
        progress: Where to show progress.

    Returns:
        What ``fit.json`` holds: ``rows``, ``split``, ``fitted``, ``comparison`` (see ``Comparison``), and all settings.

    Raises:
        ConfigError: no label column, a filter that cannot be fitted, impossible settings, or ``out`` is there already.
        DataError: the source or the model cannot be read, there are too few rows or groups, or the fitted filter
            cannot score the rows.
    """
    kind, out = check_kind(filter, training), _free(Path(out))
    _check(kind, held_out, category)
    source = source if isinstance(source, SourceConfig) else SourceConfig(path=str(source))
    rows = read_labelled(source, group, category)
    parts = split(rows, held_out, seed)
    settings = {
        "safefed": __version__,
        "filter": filter,
        "kind": kind,
        "source": source.model_dump(mode="json"),
        "source_sha256": [sha256_file(file) for file in source_files(source)],
        "group": group,
        "category": category,
        "wanted_held_out": held_out,
        "seed": seed,
        "training": make_plan(kind, training, seed).model_dump() if kind in DEFAULTS else None,
        "versions": _versions(),
    }
    with new_folder(out) as folder:
        found = _fitted(filter, rows, parts, training, seed, folder, progress)
        result = {**settings, "rows": dict(rows.counts), **found}
        write_json(folder / FIT, result)
        write_manifest(folder, sorted(file.name for file in folder.iterdir()), kind=kind)
    return result


def _free(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already; give another --out or delete it")
    return out.absolute()


def _check(kind: str, held_out: float, category: str | None) -> None:
    if not 0.0 < held_out < 1.0:
        raise ConfigError(f"the held-out share is {held_out}; give a number between 0 and 1, e.g. --held-out 0.2")
    if category is not None and kind == "classifier":
        raise ConfigError(f"{kind} does not learn categories; leave out --{CATEGORY}")


def _fitted(
    name: str, rows: Labelled, parts: Split, training: FitTraining, seed: int, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Fit and measure; only one of the two filters is in memory at a time."""
    fit, held_out = [rows.samples[i] for i in parts.fit], [rows.samples[i] for i in parts.held_out]
    with tempfile.TemporaryDirectory(prefix="safefed-") as scratch:
        fitter = make_fitter(name, fit, training, seed, Path(scratch))
        before = score(held_out, fitter.judge, progress, f"score before, with {name}") if fitter.judge else None
        facts = fitter.fit(fit, folder, progress)
        del fitter
    after = score(held_out, make_filter(f"{name.partition(':')[0]}:{folder}"), progress, "score after")
    unsafe, groups = [rows.unsafe[i] for i in parts.held_out], parts.groups[list(parts.held_out)]
    return {
        "split": {**parts.facts(), "answers_seen": answers_seen(fit, held_out), **_hashes(fit, held_out)},
        "fitted": facts,
        "comparison": compare(unsafe, groups, before, after, seed).to_json(),
    }


def _hashes(fit: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, str]:
    sides = {"fit": fit, "held_out": held_out}
    return {f"{name}_sha256": content_hash(sorted(sample.id for sample in side)) for name, side in sides.items()}


def _versions() -> Mapping[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "peft", "trl", "scikit-learn", "numpy")}
