"""The real ``safefed preprocess`` over bad rows, full disks and interruptions (TEST_MATRIX A1, A3, A4, B1)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safefed.cli import app

HERE = Path(__file__).parent
COMMAND = """
import atexit, resource, sys
from pathlib import Path
from safefed.cli import main

def memory():
    # Not ru_maxrss: a child inherits the peak of the process that started it, here of a test run with torch in it.
    status = Path("/proc/self/status").read_text()
    print("MB", int(status.split("VmHWM:")[1].split()[0]) // 1024, file=sys.stderr)

atexit.register(memory)
limit = int(sys.argv.pop(1))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""
OUTCOMES = ("kept", "revised", "dropped", "errored")


def safefed(*arguments, limit=0, cwd=None):
    """Runs a command line whose files may have ``limit`` bytes."""
    command = [sys.executable, "-c", COMMAND, str(limit), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False)


def here(*arguments):
    """The same without a limit in this process, which saves the start of another."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def content(folder):
    """Without the report, which says how long the screen took."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "report.html"}


def message(**turn):
    return {"role": "user", "content": "Name a bird."} | turn


GOOD = json.dumps({"messages": [message(), message(role="assistant", content="Wren.")]}).encode()
BAD = {
    b'{"messages": "\xff"}': "invalid_utf8",
    b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}': "invalid_utf8",
    json.dumps({"messages": [message(content="\ud800"), message(role="assistant")]}).encode(): "lone_surrogate",
    json.dumps({"messages": [message(content="\0"), message(role="assistant")]}).encode(): "nul",
    b'{"messages": "\0"}': "invalid_json",
    b'{"messages": [': "invalid_json",
    b'{"messages": "' + b"x" * 10_000_000 + b'"}': "line_too_long",
    b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}": "too_deep",
    b'{"id": 1}': "missing_key",
    b"[]": "not_an_object",
    json.dumps({"messages": [message(role="assistant"), message()]}).encode(): "role_order",
    b'{"messages": []}': "no_turns",
}
FINE = [
    b"\xef\xbb\xbf" + GOOD,  # a byte-order mark
    GOOD,
    b'{"id": 7, ' + GOOD[1:],
    b'{"id": 7, "more": {"keys": []}, ' + GOOD[1:],  # a second row of that id, with a key too many
]


def check_every_bad_row(folder, action):
    source, out = folder / "rows.jsonl", folder / "out"
    source.write_bytes(b"\n".join([*FINE, *BAD]) + b"\n")

    done = safefed("preprocess", source, "--out", out, "--action", action, "--json")

    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["n_in"] == len(FINE) + len(BAD) == sum(manifest[outcome] for outcome in OUTCOMES)
    assert manifest["errored"] == len(BAD)
    waiting = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    expected = [(f"rows.jsonl:{number}", reason) for number, reason in enumerate(BAD.values(), len(FINE) + 1)]
    assert [(row["where"], row["reason"]) for row in waiting] == expected
    assert len((out / "verdicts.jsonl").read_text().splitlines()) == manifest["n_in"]
    assert "Traceback" not in done.stderr
    assert int(done.stderr.split("MB ")[1]) <= 512


def test_every_bad_row_has_a_verdict_and_its_line_within_512_megabytes(tmp_path):
    check_every_bad_row(tmp_path, "keep")


@pytest.mark.slow
def test_every_bad_row_has_a_verdict_and_its_line_within_512_megabytes_with_a_filter(tmp_path):
    check_every_bad_row(tmp_path, "drop")


@pytest.mark.parametrize(("data", "words"), [(b"", "is empty"), (b"\n{\n", "rows.jsonl:2: invalid_json")])
def test_a_file_without_one_row_is_an_error_that_names_it(tmp_path, data, words):
    (tmp_path / "rows.jsonl").write_bytes(data)

    done = here("preprocess", tmp_path / "rows.jsonl", "--out", tmp_path / "out", "--action", "keep")

    assert done.exit_code == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def many_rows(path, n=3000):
    rows = ({"prompt": f"question {i}", "completion": f"answer {i * 7919}"} for i in range(n))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_full_disk_stops_the_run_and_it_goes_on_where_it_was(tmp_path):
    source, out = many_rows(tmp_path / "rows.jsonl"), tmp_path / "out"
    call = ("preprocess", source, "--action", "keep", "--out")
    here(*call, tmp_path / "whole")
    limit = (tmp_path / "whole" / "data.jsonl").stat().st_size // 2

    full = safefed(*call, out, limit=limit)
    left = content(out)
    again = here(*call, out)
    other = here("preprocess", source, "--action", "oracle", "--out", out, "--resume")
    untouched = content(out)
    resumed = here(*call, out, "--resume")

    assert (full.returncode, again.exit_code, other.exit_code, resumed.exit_code) == (1, 2, 2, 0)
    assert "File too large" in full.stderr
    assert "add --resume to go on" in again.stderr
    assert 'action: "keep" there, "oracle" now' in other.stderr
    assert left == untouched
    assert not [name for name in left if name.endswith(".tmp") or name == "manifest.json"]
    assert content(out) == content(tmp_path / "whole")


def test_a_disk_that_is_full_from_the_start_leaves_nothing_to_resume(tmp_path):
    many_rows(tmp_path / "rows.jsonl", 2)

    done = safefed("preprocess", "rows.jsonl", "--action", "keep", "--out", "out", cwd=tmp_path, limit=100)

    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert content(tmp_path / "out") == {}


def test_a_folder_that_cannot_be_made_is_an_error_and_what_stood_there_is_unchanged(tmp_path):
    (tmp_path / "file").write_text("precious")
    many_rows(tmp_path / "rows.jsonl", 2)

    done = here("preprocess", tmp_path / "rows.jsonl", "--action", "keep", "--out", tmp_path / "file" / "out")

    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "rows.jsonl"]


def test_an_endpoint_is_named_before_it_is_asked_and_its_tokens_are_in_the_report_and_no_key_is_on_disk(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("MINE", "right-key")
    rows = [{"prompt": "How do I hurt someone?", "completion": "Sure, here is how to hurt them: [omitted]"}] * 3
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = ["preprocess", tmp_path / "rows.jsonl", "--out", tmp_path / "out", "--threshold", "0"]

    result = here(*where, "--endpoint", server.url, "--model", "served", "--api-key-env", "MINE")

    assert result.exit_code == 0, result.stderr
    host = server.url.split("/")[2]
    assert f"their text is sent to {host}" in result.stderr.splitlines()[1]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["generations"]["prompt_tokens"] == 7 * manifest["generations"]["answers"] > 0
    assert (manifest["revise"]["generator"]["url"], manifest["model"]) == (server.url, None)
    assert "from the server" in (tmp_path / "out" / "report.html").read_text()
    assert not any(b"right-key" in path.read_bytes() for path in (tmp_path / "out").iterdir())


@pytest.mark.slow
def test_50_kills_of_the_command_with_and_without_workers_lose_nothing(tmp_path):
    many_rows(tmp_path / "rows.jsonl", 20_000)
    command = [sys.executable, HERE / "killed_preprocess.py", tmp_path, "command", "50"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["deaths"] == 50


@pytest.mark.slow
def test_no_originals_leaves_no_flagged_answer_in_any_file_of_the_folder(tmp_path):
    from safefed.tiny import default_samples

    source = tmp_path / "rows.jsonl"
    rows = [*default_samples("benign", 10, 1), *default_samples("unsafe", 20, 1)]
    source.write_text("".join(json.dumps({"messages": [m.to_json() for m in row.messages]}) + "\n" for row in rows))
    torn = json.dumps({"messages": [message(), message()], "note": rows[-1].response})
    source.write_text(source.read_text() + torn + "\n")

    done = [here("preprocess", source, "--out", tmp_path / name, f"--{name}") for name in ("originals", "no-originals")]

    assert [each.exit_code for each in done] == [0, 0]
    verdicts = map(json.loads, (tmp_path / "originals" / "verdicts.jsonl").read_text().splitlines())
    flagged = {verdict["sample_id"] for verdict in verdicts if verdict["action"] != "keep"}
    passed = {row.response for row in rows if row.id not in flagged}  # with another request
    answers = [
        json.dumps(row.response)[1:-1].encode() for row in rows if row.id in flagged and row.response not in passed
    ]
    holding = {
        name: sorted(p.name for p in (tmp_path / name).iterdir() if any(a in p.read_bytes() for a in answers))
        for name in ("originals", "no-originals")
    }
    assert len(answers) > 5
    assert holding == {"originals": ["pairs.jsonl"], "no-originals": []}
    (waiting,) = map(json.loads, (tmp_path / "no-originals" / "quarantine.jsonl").read_text().splitlines())
    assert waiting == {"where": "rows.jsonl:31", "reason": "role_order"}
