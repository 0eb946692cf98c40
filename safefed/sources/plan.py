"""Deciding, from the options and the first rows, how a source is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from safefed.config import SourceConfig
from safefed.errors import DataError
from safefed.sources.advice import undecided
from safefed.sources.containers import check_file, raw_rows
from safefed.sources.formats import FORMATS, Fields, Format, columns_format
from safefed.sources.guard import refuse_eval_data
from safefed.sources.join import joiner
from safefed.sources.rows import LINE_LIMIT, BadRow, Row, RowError, plain_text, shown
from safefed.store import sha256_file

PROBE = 20
"""Rows that decide the format; of a file that begins with bad rows, more are looked at to find them."""

NOTHING: Mapping[str, str] = MappingProxyType({})

_PROBE_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """How a source is read.

    ``rows`` are the first ones, joined, that the decision was made on; ``carried`` are the columns, by name in
    ``Sample.meta``, that come along.
    """

    source: SourceConfig
    path: Path
    format: Format
    detected: bool
    join: Callable[[Fields], Fields]
    columns: tuple[str, ...]
    rows: tuple[Fields, ...]
    carried: Mapping[str, str]


def source_files(source: SourceConfig) -> list[Path]:
    """The files that a source is read from: its own, and the one it joins."""
    return [Path(source.path)] + ([Path(source.join.file)] if source.join else [])


def source_hashes(source: SourceConfig) -> list[str]:
    """The sha-256 of each of ``source_files``. Raises DataError if one is not there."""
    for file, option in zip(source_files(source), ("path", "join.file"), strict=False):
        check_file(file, option)
    return [sha256_file(file) for file in source_files(source)]


def make_plan(source: SourceConfig, line_limit: int = LINE_LIMIT, carried: Mapping[str, str] = NOTHING) -> Plan:
    """Look at the files and the first rows and decide.

    Raises:
        DataError: nothing there to read, data that may only be measured on, an option that names no column, no format
            or several that fit, or a prompt column of bare integers.
    """
    path = Path(source.path)
    for file, option in zip(source_files(source), ("path", "join.file"), strict=False):
        check_file(file, option)
        refuse_eval_data(file)
    rows = _probe(path, line_limit, required=source.format is None and source.prompt is None)
    columns = tuple(dict.fromkeys(str(key) for row in rows for key in row))
    _check_options(source, columns, carried)
    join = joiner(source.join)
    joined = tuple(_joined(row, join) for row in rows)
    chosen = _format(source, columns, joined)
    _refuse_indices(source, chosen, joined)
    return Plan(source, path, chosen, source.format is None and source.prompt is None, join, columns, joined, carried)


def _probe(path: Path, limit: int, *, required: bool) -> list[Fields]:
    outcomes = list(_first(path, limit))
    rows = [row.fields for row in outcomes if isinstance(row, Row)]
    if not outcomes:
        raise DataError(f"{path} holds no rows; it must hold at least one")
    if not rows and required:
        bad = outcomes[0]
        reason = bad.reason if isinstance(bad, BadRow) else ""
        raise DataError(
            f"{path}: none of the first {len(outcomes)} rows can be read; the first is {bad.where}: {reason}"
        )
    return rows


def _first(path: Path, limit: int) -> list[Row | BadRow]:
    found: list[Row | BadRow] = []
    good = 0
    for row in islice(raw_rows(path, limit), _PROBE_AT_MOST):
        found.append(row)
        good += isinstance(row, Row)
        if good == PROBE:
            break
    return found


def _check_options(source: SourceConfig, columns: tuple[str, ...], carried: Mapping[str, str]) -> None:
    options = {"prompt": source.prompt, "response": source.response, "label": source.label}
    options |= {"join.key": source.join.key if source.join else None}
    options |= {f"where.{name}": name for name in source.where} | dict(carried)
    wrong = [f"{option} = {name!r}" for option, name in options.items() if name is not None and name not in columns]
    if wrong and columns:
        raise DataError(f"{source.path} has no column for {'; '.join(wrong)}; its columns are: {shown(columns)}")


def _joined(row: Fields, join: Callable[[Fields], Fields]) -> Fields:
    try:
        return join(row)
    except RowError:
        return row


def _format(source: SourceConfig, columns: tuple[str, ...], rows: tuple[Fields, ...]) -> Format:
    if source.prompt is not None:
        return columns_format(source.prompt, source.response)
    allowed = [f for f in FORMATS if source.format in (None, f.name)]
    fitting = [f for f in allowed if 2 * sum(f.fits(row) for row in rows) > len(rows)]
    if source.format is not None and not rows:
        return allowed[0]
    if len(fitting) != 1:
        raise DataError(undecided(source, columns, fitting))
    return fitting[0]


def _refuse_indices(source: SourceConfig, chosen: Format, rows: tuple[Fields, ...]) -> None:
    texts = [plain_text(row.get(chosen.prompt)) or "" for row in rows if chosen.prompt]
    if texts and all(text.removeprefix("-").isdecimal() for text in texts):
        key = source.join.key if source.join else chosen.prompt
        raise DataError(
            f"{source.path}: every prompt of the first {len(texts)} rows is a bare integer, so the column "
            f"{chosen.prompt!r} holds indices, not prompts; name the file they point into: "
            f'join = {{ file = "FILE.csv", key = "{key}", column = "TEXT_COLUMN" }}'
        )
