"""Benchmark files: found, hashed, parsed; nothing here belongs to one suite."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safefed.errors import DataError, IntegrityError
from safefed.eval.benchmarks import Benchmark, Case, MetricName
from safefed.overlap import words
from safefed.records import content_hash
from safefed.store import sha256_bytes

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """One known file.

    Attributes:
        suite: The suite it belongs to.
        file: Its place under ``$SAFEFED_DATA``.
        sha256: Of its bytes.
        hub: Data set id and split of a copy on the hub.
        prompts: ``prompts_hash`` of its prompts, by which the hub's copy is recognised: its bytes differ.
        columns: Names under which the prompt may be found.
        licence: Of the text.
    """

    suite: str
    file: str
    sha256: str
    hub: tuple[str, str]
    prompts: str
    columns: tuple[str, ...]
    licence: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as read, the hash of what they were read from, whether that is the known data, and where it was."""

    rows: list[Row]
    sha256: str
    verified: bool
    where: str

    def benchmark(self, name: str, harmful: bool, cases: Iterable[Case], licence: str) -> Benchmark:
        """The cases of one side."""
        side = tuple(case for case in cases if case.harmful is harmful)
        metric: MetricName = "safe rate" if harmful else "over-refusal"
        return Benchmark(name, metric, side, licence, self.sha256, self.verified)

    def column(self, names: tuple[str, ...]) -> str:
        """The first of ``names`` that the rows have. Raises DataError."""
        for name in names:
            if self.rows and name in self.rows[0]:
                return name
        raise DataError(f"{self.where} has no rows with a column {' or '.join(names)}; give the benchmark's own file")


def prompts_hash(prompts: Iterable[str]) -> str:
    """Hash of prompts without their order, case and punctuation."""
    return content_hash(sorted(" ".join(words(prompt)) for prompt in prompts))


def text_of(row: Row, column: str, where: str) -> str:
    """``row[column]``; raises DataError if it is not there or not text."""
    value = row.get(column)
    if not isinstance(value, str):
        raise DataError(f"{where}: {column!r} is missing or not text; correct the row")
    return value.strip()


def read_table(path: Path, sha256: str) -> Table:
    """A CSV or JSONL file, "verified" if its bytes have ``sha256``.

    Raises:
        DataError: it cannot be read or parsed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give the benchmark's file") from None
    digest = sha256_bytes(data)
    return Table(_parse(data, path), digest, digest == sha256, str(path))


def _parse(data: bytes, path: Path) -> list[Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if path.suffix == ".jsonl":
        return [_json_row(line, f"{path}:{n}") for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"{path} is not a readable CSV file ({error}); give the benchmark's own file") from None


def _json_row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where} is not JSON; write one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object; write one object a line")
    return row


def find(source: Source, path: str | None) -> Table:
    """The rows of ``source``: at ``path``, under ``$SAFEFED_DATA``, or on the hub, in this order.

    Raises:
        DataError: nowhere to be found, or not readable.
        IntegrityError: the file under ``$SAFEFED_DATA`` is not the known one.
    """
    if path is not None:
        return read_table(Path(path), source.sha256)
    known = Path(os.environ.get("SAFEFED_DATA", "")) / source.file
    if not os.environ.get("SAFEFED_DATA") or not known.is_file():
        return _from_hub(source)
    table = read_table(known, source.sha256)
    if not table.verified:
        raise IntegrityError(
            f"{known} is not the known {source.suite} file (sha-256 {table.sha256[:16]}…, not {source.sha256[:16]}…); "
            f"restore it, or set benchmark.paths.{source.suite} to use it as an unverified one"
        )
    return table


def _from_hub(source: Source) -> Table:
    from datasets import load_dataset

    name, split = source.hub
    try:
        rows: list[Row] = [dict(row) for row in load_dataset(name, split=split)]
    except (OSError, ValueError, RuntimeError) as error:
        data = os.environ.get("SAFEFED_DATA")
        here = f"{data} holds no {source.file}" if data else "SAFEFED_DATA is not set"
        raise DataError(
            f"benchmark suite {source.suite} was not found: {here}, and the hub's {name} cannot be read "
            f"({type(error).__name__}); run: export SAFEFED_DATA=/folder (with {source.file} in it), or set "
            f"benchmark.paths.{source.suite}, or, with a network, accept the data set's terms and set HF_TOKEN"
        ) from None
    table = Table(rows, "", False, f"hub:{name}")
    column = table.column(source.columns)
    digest = prompts_hash(text_of(row, column, f"hub:{name} row {n}") for n, row in enumerate(rows, 1))
    return Table(rows, digest, digest == source.prompts, table.where)
