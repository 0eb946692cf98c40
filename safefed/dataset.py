"""A screened data set on disk, written chunk by chunk so that it survives being killed at any moment.

A folder holds ``data.jsonl`` (Samples to train on), ``verdicts.jsonl``, ``revisions.jsonl``, ``pairs.jsonl``
(PreferencePairs; their rejected side is unsafe text by nature), ``quarantine.jsonl`` (rows that could not be used,
their bytes in base64) and ``manifest.json``, which is written last: without it the folder is not a data set.

While it grows there is also ``journal.json``, which is replaced when a chunk is finished: the settings, the length and
hash of every file, and what was counted so far. Opening an unfinished folder cuts the files back to the last finished
chunk.
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
from safefed.records import PreferencePair, Record, Sample, canonical_json, content_hash
from safefed.store import MANIFEST, read_jsonl, read_manifest, read_sealed, write_json, write_sealed

DATA, VERDICTS, REVISIONS, PAIRS, QUARANTINE = FILES = (
    "data.jsonl",
    "verdicts.jsonl",
    "revisions.jsonl",
    "pairs.jsonl",
    "quarantine.jsonl",
)
JOURNAL = "journal.json"
GENERATIONS = "generations.log"


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


def load_dataset_pairs(folder: Path) -> list[PreferencePair]:
    """The preference pairs of a finished data set, in order; [] if it has none.

    Raises:
        DataError: the folder holds no finished data set.
        IntegrityError: a file changed since it was written.
    """
    read_finished(folder)
    return [PreferencePair.from_json(row) for row in read_jsonl(folder / PAIRS)]


def finished(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of a folder that was finished with the same settings; None if it is not finished.

    Raises:
        ConfigError: it was finished with other settings; the message names them.
        IntegrityError: a file changed since it was written.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        _check_settings(folder, {key: manifest.get(key) for key in settings}, settings)
        for name in (GENERATIONS, JOURNAL):
            (folder / name).unlink(missing_ok=True)
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
        resume: Whether to go on with finished chunks; with none there is nothing to lose, and the folder is begun anew.

    Attributes:
        folder: As given.

    Raises:
        ConfigError: the folder holds something else, was begun with other settings, or may not be resumed.
        IntegrityError: a file is not what the journal says.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool = True) -> None:
        self.folder, self._settings = folder, settings
        _check_foreign(folder)
        _remove_torn(folder)
        journal = read_sealed(folder / JOURNAL)
        if journal is None or not journal["chunks"]:
            journal = {"settings": settings, "chunks": 0, "input": "", "files": {}, "counts": {}, "facts": {}}
            write_sealed(folder / JOURNAL, journal)
        elif not resume:
            raise ConfigError(f"{folder} holds an unfinished data set; add --resume to go on, or give another --out")
        _check_settings(folder, journal["settings"], settings)
        self._journal, self._begun = journal, journal
        self._n_given, self._given = 0, ""
        self._files = {name: _Growing(folder / name, journal["files"].get(name, _EMPTY)) for name in FILES}

    def holds(self, digest: str) -> bool:
        """Whether the next chunk, which is made of rows with this ``digest``, is on disk already.

        To be asked once for every chunk, in order.

        Raises:
            ConfigError: the chunks on disk were made of other rows.
        """
        n_done = self._begun["chunks"]
        if self._n_given == n_done:
            return False
        self._n_given, self._given = self._n_given + 1, content_hash([self._given, digest])
        if self._n_given == n_done and self._given != self._begun["input"]:
            raise ConfigError(
                f"{self.folder} was begun with other input rows (in its first {n_done} chunks); "
                "give another --out or delete the folder"
            )
        return True

    def commit(
        self, digest: str, lines: Mapping[str, bytes], counts: Mapping[str, int], facts: Mapping[str, str]
    ) -> None:
        """Add one chunk: its lines by file name, its counts, and facts that all chunks must agree on.

        Raises:
            ConfigError: a fact is not what an earlier chunk said.
        """
        _check_settings(self.folder, {key: self.facts.get(key, value) for key, value in facts.items()}, facts)
        files = {name: file.append(lines.get(name, b"")) for name, file in self._files.items()}
        journal = {
            "settings": self._settings,
            "chunks": self._journal["chunks"] + 1,
            "input": content_hash([self._journal["input"], digest]),
            "files": files,
            "counts": self.counts + Counter(counts),
            "facts": {**self.facts, **facts},
        }
        write_sealed(self.folder / JOURNAL, journal)
        self._journal = journal

    @property
    def state(self) -> str:
        """A hash of the settings and of the rows that are on disk: another one for each chunk that comes next."""
        return content_hash([self._settings, self._journal["chunks"], self._journal["input"]])

    @property
    def facts(self) -> dict[str, str]:
        """What the chunks so far agree on."""
        return dict(self._journal["facts"])

    @property
    def counts(self) -> Counter[str]:
        """The chunks' counts, added up."""
        return Counter(self._journal["counts"])

    def discard(self) -> None:
        """Remove what was written; the folder stays."""
        for name in (*FILES, GENERATIONS, JOURNAL):
            (self.folder / name).unlink(missing_ok=True)

    def finish(self, **facts: Any) -> dict[str, Any]:
        """Write the manifest (settings and ``facts``), then remove the journal; returns the manifest.

        Raises:
            ConfigError: fewer rows were given than an earlier call had.
        """
        if self._n_given < self._begun["chunks"]:
            raise ConfigError(
                f"{self.folder} was begun with more input rows ({self._begun['chunks']} chunks, now {self._n_given}); "
                "give another --out or delete the folder"
            )
        hashes = {name: self._files[name].mark["sha256"] for name in sorted(FILES)}
        manifest = {**self._settings, **facts, "files": hashes}
        write_json(self.folder / MANIFEST, manifest)
        for name in (GENERATIONS, JOURNAL):
            (self.folder / name).unlink(missing_ok=True)
        return manifest


def _check_foreign(folder: Path) -> None:
    there = [name for name in (*FILES, MANIFEST) if (folder / name).exists()]
    if there and not (folder / JOURNAL).exists():
        raise ConfigError(f"{folder} already holds {there[0]}, which this run did not write; give another --out")


def _remove_torn(folder: Path) -> None:
    """What a kill left that came while the journal or the manifest was written."""
    for name in (JOURNAL, MANIFEST):
        for torn in folder.glob(f".{name}.*.tmp"):
            torn.unlink()


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

    def append(self, data: bytes) -> dict[str, Any]:
        """Put ``data`` on disk; returns the new mark."""
        if data:
            with self._path.open("ab") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        self._size += len(data)
        self._hash.update(data)
        return self.mark

    @property
    def mark(self) -> dict[str, Any]:
        """What is on disk."""
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}


def _hash_of_start(path: Path, size: int) -> Any:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while size and (block := handle.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest


def json_lines(rows: Iterable[Record | Mapping[str, Any]]) -> bytes:
    """One JSON object a line, as the files of a data set hold them. Raises ValueError on NaN and infinities."""
    return b"".join(map(_line, rows))


def _fields(value: Any) -> dict[str, Any]:
    return value.fields() if isinstance(value, Record) else dict(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_fields)
_ASCII_ENCODER = json.JSONEncoder(allow_nan=False, default=_fields)


def _line(row: Record | Mapping[str, Any]) -> bytes:
    try:
        return (_ENCODER.encode(row) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8; escaped it survives the round trip
        return (_ASCII_ENCODER.encode(row) + "\n").encode()
