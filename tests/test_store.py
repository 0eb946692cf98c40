"""Files survive crashes, full disks and damage, or say so (TEST_MATRIX A2, A3)."""

import hashlib
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safefed.errors import IntegrityError
from safefed.store import (
    Log,
    read_json,
    read_jsonl,
    read_manifest,
    sha256_bytes,
    sha256_file,
    write_atomic,
    write_json,
    write_jsonl,
    write_manifest,
)

ROWS = [{"n": 1}, {"t": "\r\n\x1c\u2028ü\\"}, {"n": 3}, {"l": [1.5]}]


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "a.jsonl")
    log.append(*ROWS)
    return log


def starts(data: bytes) -> list[int]:
    """Where each line of ``data`` begins, and where the last one ends."""
    return [0] + [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]


def fresh(path: Path, data: bytes) -> None:
    """Write a new file: rewriting one in place waits for the disk."""
    path.unlink()
    path.write_bytes(data)


def test_a_reopened_log_has_the_same_rows(log):
    assert Log(log.path).rows == log.rows == ROWS


def test_rows_are_what_a_reopened_log_gives(log):
    log.append({"pair": (1, 2), "nested": {"b": (), "a": None}})

    assert log.rows == Log(log.path).rows


def test_a_log_cut_at_any_byte_of_its_last_two_records_is_repaired_to_the_record_before(log):
    data = log.path.read_bytes()
    begins = starts(data)

    for size in range(begins[2], len(data)):
        fresh(log.path, data[:size])
        whole = sum(begin <= size for begin in begins) - 1

        repaired = Log(log.path)

        assert repaired.rows == ROWS[:whole]
        assert log.path.read_bytes() == data[: begins[whole]]


def test_a_repaired_log_goes_on(log):
    log.path.write_bytes(log.path.read_bytes()[:-5])

    Log(log.path).append({"n": 5})

    assert Log(log.path).rows == [*ROWS[:3], {"n": 5}]


@pytest.mark.parametrize("change", [lambda b: b ^ 1, lambda b: b ^ 0x20, lambda _: 10, lambda _: 13])
def test_a_changed_byte_anywhere_is_damage_that_names_file_and_line(log, change):
    data = log.path.read_bytes()
    begins = starts(data)

    for position, byte in enumerate(data):
        if change(byte) == byte:
            continue
        fresh(log.path, data[:position] + bytes([change(byte)]) + data[position + 1 :])
        line = sum(begin <= position for begin in begins)

        with pytest.raises(IntegrityError) as caught:
            Log(log.path)

        assert f"{log.path}:{line} is damaged" in str(caught.value)


def test_damage_is_not_repaired_behind_the_readers_back(log):
    data = log.path.read_bytes().replace(b'"n":1', b'"n":7')
    log.path.write_bytes(data)

    with pytest.raises(IntegrityError, match=r"a\.jsonl:1 is damaged"):
        Log(log.path)

    assert log.path.read_bytes() == data


@pytest.mark.parametrize("line", [b"\n", b"00000000 \n", b"%08x [1]\n" % zlib.crc32(b"[1]"), b"hello\n", b"\xff\n"])
def test_a_line_that_is_no_record_is_damage(log, line):
    with log.path.open("ab") as handle:
        handle.write(line)

    with pytest.raises(IntegrityError, match=r"a\.jsonl:5 is damaged"):
        Log(log.path)


def test_a_row_that_is_not_json_changes_nothing(log):
    with pytest.raises(ValueError, match="JSON"):
        log.append({"n": 5}, {"n": float("nan")})

    assert Log(log.path).rows == log.rows == ROWS


@settings(deadline=None, max_examples=10)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3), st.text() | st.integers() | st.none(), max_size=2), max_size=4),
    cut=st.integers(0, 400),
)
def test_any_rows_cut_anywhere_come_back_as_a_prefix(tmp_path_factory, rows, cut):
    log = Log(tmp_path_factory.mktemp("log") / "a.jsonl")
    log.append(*rows)
    log.path.write_bytes(log.path.read_bytes()[:cut])

    repaired = Log(log.path).rows

    assert repaired == rows[: len(repaired)]


FULL_DISK = """
import resource, sys
from pathlib import Path
from safefed.store import Log, write_atomic, write_json, write_jsonl, write_manifest
folder = Path(sys.argv[2])
big = {"text": "x" * 50_000}
log = Log(folder / "log.jsonl")
writers = {
    "write_atomic": lambda: write_atomic(folder / "file", b"x" * 50_000),
    "write_json": lambda: write_json(folder / "file", big),
    "write_jsonl": lambda: write_jsonl(folder / "file", [{"n": 1}] * 10 + [big]),
    "write_manifest": lambda: write_manifest(folder, ["file"], **big),
    "append": lambda: log.append({"n": 2}, big),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    writers[sys.argv[1]]()
finally:
    log.append({"n": 3})
"""


@pytest.mark.parametrize("writer", ["write_atomic", "write_json", "write_jsonl", "write_manifest", "append"])
def test_a_full_disk_stops_the_writer_and_leaves_what_was_there(tmp_path, writer):
    write_jsonl(tmp_path / "file", ROWS)
    write_manifest(tmp_path, ["file"], name="before")
    Log(tmp_path / "log.jsonl").append({"n": 1})
    before = {path.name: sha256_file(path) for path in tmp_path.iterdir() if path.name != "log.jsonl"}

    done = subprocess.run([sys.executable, "-c", FULL_DISK, writer, tmp_path], capture_output=True, text=True)

    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert {path.name: sha256_file(path) for path in tmp_path.iterdir() if path.name != "log.jsonl"} == before
    assert Log(tmp_path / "log.jsonl").rows == [{"n": 1}, {"n": 3}]


WRITERS = {
    "write_atomic": lambda folder: write_atomic(folder / "file", b"x"),
    "write_json": lambda folder: write_json(folder / "file", {}),
    "write_jsonl": lambda folder: write_jsonl(folder / "file", [{}]),
    "write_manifest": lambda folder: write_manifest(folder, []),
    "log": lambda folder: Log(folder / "file"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_that_cannot_be_written_is_an_error_and_nothing_is_left(tmp_path, writer):
    (tmp_path / "not-a-folder").write_text("before")

    with pytest.raises(OSError, match="not-a-folder"):
        WRITERS[writer](tmp_path / "not-a-folder" / "inner")

    assert [path.name for path in tmp_path.iterdir()] == ["not-a-folder"]
    assert (tmp_path / "not-a-folder").read_text() == "before"


@pytest.mark.parametrize("writer", ["write_atomic", "write_json", "write_jsonl"])
def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path, writer):
    (tmp_path / "file" / "inside").mkdir(parents=True)

    with pytest.raises(OSError, match="file"):
        WRITERS[writer](tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_rows_that_fail_half_way_leave_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(path, ROWS)
    before = sha256_file(path)

    with pytest.raises(ValueError, match="JSON compliant"):
        write_jsonl(path, [{"n": 1}, {"n": float("inf")}])

    assert sha256_file(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_writer_leaves_the_file_as_it_was(tmp_path):
    def rows():
        yield {"n": 1}
        raise KeyboardInterrupt

    write_jsonl(tmp_path / "a.jsonl", ROWS)

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(tmp_path / "a.jsonl", rows())

    assert list(read_jsonl(tmp_path / "a.jsonl")) == ROWS
    assert len(list(tmp_path.iterdir())) == 1


def test_written_rows_are_read_back_in_utf8_even_with_a_lone_surrogate(tmp_path):
    rows = [*ROWS, {"text": "\\\ud800\\u0041 é"}]

    assert write_jsonl(tmp_path / "deep" / "a.jsonl", rows) == len(rows)

    assert list(read_jsonl(tmp_path / "deep" / "a.jsonl")) == rows
    assert "é".encode() in (tmp_path / "deep" / "a.jsonl").read_bytes()


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"\xff", b"3", b'{"n": 2'])
def test_a_damaged_line_names_file_and_line(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b"\n")

    with pytest.raises(IntegrityError, match=r"a\.jsonl:2 is damaged"):
        list(read_jsonl(path))


@pytest.mark.parametrize("reader", [read_json, lambda path: list(read_jsonl(path))])
@pytest.mark.parametrize("place", ["absent.json", "file/absent.json"])
def test_a_missing_file_is_an_integrity_error(tmp_path, reader, place):
    (tmp_path / "file").touch()

    with pytest.raises(IntegrityError, match=r"absent\.json is missing"):
        reader(tmp_path / place)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_json_file_is_an_integrity_error(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)

    with pytest.raises(IntegrityError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})

    assert not list(tmp_path.iterdir())


def test_hashes_agree(tmp_path):
    write_atomic(tmp_path / "a", b"bytes")

    assert sha256_file(tmp_path / "a") == sha256_bytes(b"bytes") == hashlib.sha256(b"bytes").hexdigest()


@pytest.fixture
def finished(tmp_path):
    write_jsonl(tmp_path / "data.jsonl", ROWS)
    write_manifest(tmp_path, ["data.jsonl"], n_in=4)
    return tmp_path


def test_a_finished_folder_gives_its_manifest(finished):
    assert read_manifest(finished)["n_in"] == 4


def test_a_folder_without_manifest_is_not_finished(finished):
    (finished / "manifest.json").unlink()

    assert read_manifest(finished) is None
    assert read_manifest(finished / "absent") is None


def test_a_manifest_of_a_file_that_is_not_there_is_never_written(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_manifest(tmp_path, ["absent"])

    assert read_manifest(tmp_path) is None


def test_a_changed_or_missing_file_of_a_finished_folder_is_an_error(finished):
    data = (finished / "data.jsonl").read_bytes()

    (finished / "data.jsonl").write_bytes(data.replace(b"1", b"2", 1))
    with pytest.raises(IntegrityError, match=r"data\.jsonl changed"):
        read_manifest(finished)

    (finished / "data.jsonl").unlink()
    with pytest.raises(IntegrityError, match=r"data\.jsonl is missing"):
        read_manifest(finished)


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b'{"files": 3}', b'{"files": {', b"\xff"])
def test_a_damaged_manifest_is_an_error(finished, manifest):
    (finished / "manifest.json").write_bytes(manifest)

    with pytest.raises(IntegrityError, match=r"manifest\.json is damaged"):
        read_manifest(finished)
