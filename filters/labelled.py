"""A labelled slice of local rows, read once and scored by one filter: what calibration learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from safefed.config import SourceConfig
from safefed.errors import DataError
from safefed.filters.base import Filter
from safefed.progress import Progress
from safefed.records import Sample, Verdict
from safefed.sources import BadRow, read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safefed.filters.calibration import Bools, Floats

CHUNK = 256


@dataclass(frozen=True, slots=True)
class Need:
    """What a job cannot do without.

    Attributes:
        job: Its name.
        rows: Labelled rows.
        of_each: Unsafe ones, and safe ones.
        instead: What can be done with fewer, to end the sentence "label more rows".
    """

    job: str
    rows: int
    of_each: int
    instead: str = ""


CALIBRATION = Need("calibration", rows=20, of_each=5)


@dataclass(frozen=True, slots=True)
class Slice:
    """Labelled rows and what a filter says of them.

    Attributes:
        ids: The samples' ids, each once.
        unsafe: Labels (n,).
        raw: Unsafe probabilities (n,).
        flagged: Whether the filter flags the row at its own threshold (n,).
        categories: Hazards, None where the filter names none.
        groups: Rows of one prompt have one number (n,).
        counts: ``n_in`` rows = ``labelled`` + those left out: ``unlabelled``, ``unusable`` (bad rows), ``repeated``,
            ``disputed`` (one text, both labels), ``unscored``.
    """

    ids: Sequence[str]
    unsafe: Bools
    raw: Floats
    flagged: Bools
    categories: Sequence[str | None]
    groups: NDArray[np.int64]
    counts: Mapping[str, int]


def read_slice(source: SourceConfig, judge: Filter, progress: Progress) -> Slice:
    """The labelled rows of ``source`` with the scores of ``judge``.

    Raises:
        DataError: the source cannot be read, or has fewer than 20 labelled rows or 5 of a kind.
    """
    samples, counts = labelled_samples(read_rows(source))
    rows = _slice(samples, judge, counts, progress)
    check_enough(rows.unsafe, rows.counts, source, CALIBRATION)
    return rows


def labelled_samples(rows: Iterable[Sample | BadRow]) -> tuple[list[Sample], Counter[str]]:
    """Each distinct labelled row once, and how many there were of the others; see ``Slice.counts``."""
    found: dict[str, Sample] = {}
    disputed: set[str] = set()
    counts = Counter(n_in=0, labelled=0, unlabelled=0, unusable=0, repeated=0, disputed=0)
    for row in rows:
        counts["n_in"] += 1
        if isinstance(row, BadRow) or row.label is None:
            counts["unusable" if isinstance(row, BadRow) else "unlabelled"] += 1
        elif found.setdefault(row.id, row) is not row:
            counts["repeated"] += 1
            disputed |= {row.id} if found[row.id].label != row.label else set()
    kept = [sample for sample in found.values() if sample.id not in disputed]
    counts["disputed"], counts["labelled"] = len(disputed), len(kept)
    return kept, counts


def score_samples(samples: Sequence[Sample], judge: Filter, progress: Progress, what: str) -> list[Verdict]:
    """The verdicts of ``judge``, in order; ``what`` describes the task."""
    verdicts: list[Verdict] = []
    with progress.task(what, len(samples)) as advance:
        for start in range(0, len(samples), CHUNK):
            verdicts += judge.score(samples[start : start + CHUNK])
            advance(len(verdicts) - start)
    return verdicts


def _slice(samples: Sequence[Sample], judge: Filter, counts: Counter[str], progress: Progress) -> Slice:
    verdicts = score_samples(samples, judge, progress, f"score with {judge.name}")
    pairs = list(zip(samples, verdicts, strict=True))
    usable = [(sample, verdict) for sample, verdict in pairs if verdict.action != "error"]
    counts["unscored"], counts["labelled"] = len(pairs) - len(usable), len(usable)
    prompts: dict[str, int] = {}
    return Slice(
        ids=[sample.id for sample, _ in usable],
        unsafe=np.array([sample.label for sample, _ in usable], dtype=bool),
        raw=np.array([verdict.unsafe for _, verdict in usable], dtype=np.float64),
        flagged=np.array([verdict.action != "keep" for _, verdict in usable], dtype=bool),
        categories=[verdict.category for _, verdict in usable],
        groups=np.array([prompts.setdefault(s.prompt or s.id, len(prompts)) for s, _ in usable], dtype=np.int64),
        counts=counts,
    )


def check_enough(unsafe: Bools | Sequence[bool], counts: Mapping[str, int], source: SourceConfig, need: Need) -> None:
    """Whether the rows of ``source`` suffice: ``unsafe`` are their labels (n,), ``counts`` see ``Slice.counts``.

    Raises:
        DataError: they do not.
    """
    n, n_unsafe = len(unsafe), int(np.sum(unsafe))
    if n < need.rows:
        left_out = ", ".join(f"{name} {count}" for name, count in counts.items() if name not in ("n_in", "labelled"))
        raise DataError(
            f"{source.path}: {n} labelled rows can be used, {need.job} needs {need.rows} ({left_out} of "
            f"{counts['n_in']}); label more rows{need.instead}"
        )
    if min(n_unsafe, n - n_unsafe) < need.of_each:
        raise DataError(
            f"{source.path}: {n_unsafe} rows are unsafe and {n - n_unsafe} safe, {need.job} needs {need.of_each} "
            f"of each; {source.label} counts as unsafe where it is {', '.join(source.unsafe_values)}: "
            "give --unsafe-value for others, or label more rows"
        )
