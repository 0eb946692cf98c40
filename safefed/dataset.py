"""A screened data set on disk, written chunk by chunk so that it survives being killed at any moment.

A folder holds ``data.jsonl`` (Samples to train on), ``verdicts.jsonl``, ``revisions.jsonl``, ``pairs.jsonl``
(PreferencePairs; their rejected side is unsafe text by nature), ``quarantine.jsonl`` (rows that could not be used,
their bytes in base64) and ``manifest.json``, which is written last: without it the folder is not a data set.

While it grows there is also ``journal.jsonl``: the settings, then one line per finished chunk with the length and hash
of every file. Opening an unfinished folder cuts the files back to the last finished chunk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.records import Sample, canonical_json
from safefed.store import MANIFEST, Log, read_jsonl, read_manifest, write_manifest

DATA, VERDICTS, REVISIONS, PAIRS, QUARANTINE = FILES = (
    "data.jsonl",
    "verdicts.jsonl",
    "revisions.jsonl",
    "pairs.jsonl",
    "quarantine.jsonl",
)
JOURNAL = "journal.jsonl"

Rows = Mapping[str, Iterable[Mapping[str, Any]]]


def read_finished(folder: Path) -> dict[str, Any]:
    """The manifest of a finished data set.

    Raises:
        DataError: the folder holds no finished data set.
        IntegrityError: a file changed since it was written.
    """
    manifest = read_manifest(folder)
    if manifest is None or DATA not in manifest["files"]:
        raise DataError(f"{folder} holds no finished data set; run: safefed preprocess INPUT --out {folder}")
    return manifest


def load_dataset_rows(folder: Path) -> list[Sample]:
    """The samples of a finished data set, in order.

    Raises:
        DataError: the folder holds no finished data set.
        IntegrityError: a file changed since it was written.
    """
    read_finished(folder)
    return [Sample.from_json(row) for row in read_jsonl(folder / DATA)]


def finished(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of a folder that was finished with the same settings; None if it is not finished.

    Raises:
        ConfigError: it was finished with other settings; the message names them.
        IntegrityError: a file changed since it was written.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        _check_settings(folder, {key: manifest.get(key) for key in settings}, settings)
        (folder / JOURNAL).unlink(missing_ok=True)
    return manifest


def _check_settings(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if changed:
        details = "; ".join(f"{key}: {_short(before.get(key))} there, {_short(now.get(key))} now" for key in changed)
        raise ConfigError(f"{folder} was made with other settings ({details}); give another --out or delete the folder")


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else text[:57] + "..."


class DatasetWriter:
    """An unfinished data set folder, open at its last finished chunk.

    Args:
        folder: New, empty, or left unfinished by a writer with equal ``settings``.
        settings: Everything that decides the content, as JSON values; they go into the manifest.

    Attributes:
        n_done: Chunks that are safely on disk.

    Raises:
        ConfigError: the folder holds something else, or was begun with other settings.
        IntegrityError: a file is not what the journal says.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder, self._settings = folder, settings
        _check_foreign(folder)
        self._log = _journal(folder / JOURNAL, settings)
        begun, *self._chunks = self._log.rows
        _check_settings(folder, begun["settings"], settings)
        marks = self._chunks[-1]["files"] if self._chunks else {}
        self._n_given = 0
        self._files = {name: _Growing(folder / name, marks.get(name, _EMPTY)) for name in FILES}

    @property
    def n_done(self) -> int:
        """Chunks that are safely on disk."""
        return len(self._chunks)

    def check(self, number: int, digest: str) -> None:
        """Raises ConfigError unless the finished chunk ``number`` was made of rows with this ``digest``."""
        self._n_given += 1
        if self._chunks[number]["input"] != digest:
            raise ConfigError(
                f"{self._folder} was begun with other input rows (chunk {number} differs); "
                "give another --out or delete the folder"
            )

    def commit(self, digest: str, rows: Rows, counts: Mapping[str, int], facts: Mapping[str, str]) -> None:
        """Add one chunk: its rows by file name, its counts, and facts that all chunks must agree on.

        Raises:
            ConfigError: a fact is not what an earlier chunk said.
        """
        _check_settings(self._folder, {key: self.facts.get(key, value) for key, value in facts.items()}, facts)
        files = {name: file.append(rows.get(name, ())) for name, file in self._files.items()}
        self._n_given += 1
        entry = {"input": digest, "files": files, "counts": dict(counts), "facts": {**self.facts, **facts}}
        self._log.append(entry)
        self._chunks.append(entry)

    @property
    def facts(self) -> dict[str, str]:
        """What the chunks so far agree on."""
        return dict(self._chunks[-1]["facts"]) if self._chunks else {}

    @property
    def counts(self) -> Counter[str]:
        """The chunks' counts, added up."""
        return sum((Counter(chunk["counts"]) for chunk in self._chunks), Counter())

    def discard(self) -> None:
        """Remove what was written; the folder stays."""
        for name in (*FILES, JOURNAL):
            (self._folder / name).unlink()

    def finish(self, **facts: Any) -> dict[str, Any]:
        """Write the manifest (settings and ``facts``), then remove the journal; returns the manifest.

        Raises:
            ConfigError: fewer rows were given than an earlier call had.
        """
        if self._n_given < self.n_done:
            raise ConfigError(
                f"{self._folder} was begun with more input rows ({self.n_done} chunks, now {self._n_given}); "
                "give another --out or delete the folder"
            )
        for torn in self._folder.glob(f".{MANIFEST}.*.tmp"):  # left by a kill while the manifest was written
            torn.unlink()
        manifest = write_manifest(self._folder, FILES, **self._settings, **facts)
        (self._folder / JOURNAL).unlink()
        return manifest


def _journal(path: Path, settings: Mapping[str, Any]) -> Log:
    """The journal, begun with ``settings``; one without a finished chunk has nothing to lose and is begun anew."""
    log = Log(path)
    if len(log.rows) < 2:
        path.unlink()
        log = Log(path)
        log.append({"settings": settings})
    return log


def _check_foreign(folder: Path) -> None:
    there = [name for name in (*FILES, MANIFEST) if (folder / name).exists()]
    if there and not (folder / JOURNAL).exists():
        raise ConfigError(f"{folder} already holds {there[0]}, which this run did not write; give another --out")


_EMPTY: Mapping[str, Any] = {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}


class _Growing:
    """A JSONL file that grows chunk by chunk; opening it cuts off what is beyond ``mark``."""

    def __init__(self, path: Path, mark: Mapping[str, Any]) -> None:
        self._path = path
        path.touch()
        self._size: int = mark["bytes"]
        self._hash = _hash_of_start(path, self._size)
        if path.stat().st_size < self._size or self._hash.hexdigest() != mark["sha256"]:
            raise IntegrityError(f"{path} changed since its last finished chunk; delete {path.parent} and rerun")
        os.truncate(path, self._size)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Put ``rows`` on disk; returns the new mark."""
        data = b"".join(_line(row) for row in rows)
        if data:
            with self._path.open("ab") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        self._size += len(data)
        self._hash.update(data)
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}


def _hash_of_start(path: Path, size: int) -> Any:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while size and (block := handle.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8; escaped it survives the round trip
        return (json.dumps(row, allow_nan=False) + "\n").encode()
