"""Files that survive a crash: atomic writes, append-only logs with checked lines, manifests, hashes.

Nothing here is specific to safety or federation. "Done" is always written last, by rename.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safefed.errors import IntegrityError
from safefed.records import canonical_json

MANIFEST = "manifest.json"


def sha256_bytes(data: bytes) -> str:
    """Hex sha-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha-256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _replacing(path: Path, *, at_once: bool = True) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` when the block ends, and vanishes when the block raises.

    Unless ``at_once``, a power cut soon after may bring back the file that was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as temporary:
            yield temporary
            temporary.flush()
            os.fsync(temporary.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if at_once:
        _fsync(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` with ``data`` or leave it as it was; no temporary file is left behind."""
    with _replacing(path) as temporary:
        temporary.write(data)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that becomes ``path`` when the block ends, and vanishes when it raises; ``path`` is absent or empty.

    What a killed block left behind (``.NAME.unfinished`` beside it) is removed by the next one.
    """
    unfinished = path.parent / f".{path.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for file in unfinished.rglob("*"):
            _fsync(file)
        os.replace(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _fsync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON. Raises ValueError on NaN and infinities."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that safefed wrote.

    Raises:
        IntegrityError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise IntegrityError(f"{path} is missing; the run that should have written it did not finish") from None
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is not valid JSON ({error}); restore it or delete its folder and rerun") from None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write ``rows`` atomically as they come, one JSON object a line; returns how many.

    A lone surrogate, which UTF-8 cannot hold, is written as its JSON escape.
    """
    count = 0
    with _replacing(path) as temporary:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
            temporary.write(line.encode("utf-8", "backslashreplace"))
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file that safefed wrote.

    Raises:
        IntegrityError: the file is missing, or a line is not a JSON object; the message names the file and the line.
    """
    try:
        handle = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise IntegrityError(f"{path} is missing; the run that should have written it did not finish") from None
    with handle:
        for number, line in enumerate(handle, 1):
            row = _object(line)
            if row is None:
                raise IntegrityError(f"{path}:{number} is damaged; restore the file or rerun the stage")
            yield row


def _object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that ``text`` is, None if it is anything else."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _sealed(row: Mapping[str, Any]) -> bytes:
    body = canonical_json(row)
    return f"{zlib.crc32(body.encode()):08x} {body}\n".encode()


def _unsealed(line: bytes) -> dict[str, Any] | None:
    """The row of one log line without its line end, None if it is torn or damaged."""
    checksum, _, body = line.partition(b" ")
    return _object(body) if checksum == f"{zlib.crc32(body):08x}".encode() else None


def write_sealed(path: Path, row: Mapping[str, Any]) -> None:
    """Replace ``path`` atomically by one checksummed line; a power cut soon after may bring back the line before.

    Raises:
        ValueError: ``row`` holds NaN or an infinity.
    """
    sealed = _sealed(row)
    with _replacing(path, at_once=False) as temporary:
        temporary.write(sealed)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What ``write_sealed`` wrote, None if there is no such file.

    Raises:
        IntegrityError: it was changed since; the message names the file and the line.
    """
    if not path.exists():
        return None
    line = path.read_bytes()
    row = _unsealed(line[:-1]) if line.endswith(b"\n") else None
    if row is None:
        raise IntegrityError(f"{path}:1 is damaged; delete {path.parent} and rerun")
    return row


class Log:
    """An append-only file of checksummed JSON lines (``crc32 {…}``).

    Opening it repairs a torn tail, which a crash in the middle of the last append leaves: text without a line end.
    Damage anywhere else is an error. What is cut off at a line end is not missed: chain or count the rows for that.

    Raises:
        IntegrityError: a line fails its checksum; the message names the file and the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        _fsync(path.parent)
        self._rows, good = self._scan()
        if good < path.stat().st_size:
            os.truncate(path, good)

    def _scan(self) -> tuple[list[dict[str, Any]], int]:
        *lines, tail = self.path.read_bytes().split(b"\n")
        rows = [self._row(number, line) for number, line in enumerate(lines, 1)]
        if _unsealed(tail[:-1]) is not None:  # all of a record and one byte more: its line end was changed
            raise self._damaged(len(lines) + 1)
        return rows, sum(len(line) + 1 for line in lines)

    def _row(self, number: int, line: bytes) -> dict[str, Any]:
        row = _unsealed(line)
        if row is None:
            raise self._damaged(number)
        return row

    def _damaged(self, number: int) -> IntegrityError:
        return IntegrityError(f"{self.path}:{number} is damaged; restore it from a copy or start anew")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every row that is safely on disk, oldest first, as a reopened log would give them."""
        return list(self._rows)

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows and return once they are on disk (one fsync for the whole call).

        Raises:
            ValueError: a row holds NaN or an infinity; nothing is written.
            OSError: the disk refused; the log is as it was before.
        """
        sealed = [_sealed(row) for row in rows]
        before = self.path.stat().st_size
        try:
            with self.path.open("ab") as handle:
                handle.write(b"".join(sealed))
                handle.flush()
                os.fsync(handle.fileno())
        except BaseException:
            os.truncate(self.path, before)
            raise
        self._rows.extend(json.loads(line.partition(b" ")[2]) for line in sealed)


def write_manifest(folder: Path, files: Iterable[str], **facts: Any) -> dict[str, Any]:
    """Mark ``folder`` as finished: its files' hashes and ``facts``, written last and atomically."""
    manifest = {**facts, "files": {name: sha256_file(folder / name) for name in sorted(files)}}
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished folder, every file checked; None if the folder is absent or unfinished.

    Raises:
        IntegrityError: the manifest is damaged, or a file it lists is missing or has changed since.
    """
    if not (folder / MANIFEST).exists():
        return None
    manifest = _object((folder / MANIFEST).read_bytes()) or {}
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise IntegrityError(f"{folder / MANIFEST} is damaged: it lists no files; delete {folder} and rerun")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise IntegrityError(f"{folder / name} is missing but {MANIFEST} lists it; delete {folder} and rerun")
        if sha256_file(folder / name) != digest:
            raise IntegrityError(f"{folder / name} changed since it was written; delete {folder} and rerun")
    return manifest
