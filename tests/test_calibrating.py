import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safefed import calibrate
from safefed.cli import app
from safefed.config import SourceConfig
from safefed.errors import ConfigError, DataError
from safefed.filters import load_filter
from safefed.filters.fit_data import Phrasings
from safefed.filters.profile import read_profile
from safefed.preprocessing import screen_rows
from safefed.sources import read_rows
from safefed.store import read_jsonl

CANARY = "zebrafish"


def prompts(n, seed=0):
    """Requests by topic and intent, harmful and harmless in turn; every sixth label is wrong."""
    by_kind = {True: [], False: []}
    for example in Phrasings(seed).prompts():
        by_kind[example.label].append(f"{example.text} {CANARY}")
    mixed = [(text, kind) for kind in (True, False) for text in sorted(set(by_kind[kind]))[::40][: n // 2]]
    return [(text, kind ^ (i % 6 == 0)) for i, (text, kind) in enumerate(mixed)]


def write(path, rows, header=("question", "verdict")):
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def labelled():
    return [(text, "bad" if bad else "fine") for text, bad in prompts(60)]


@pytest.fixture
def data(tmp_path, labelled):
    return write(tmp_path / "rows.csv", labelled)


def source(path, **options):
    return SourceConfig(path=str(path), prompt="question", **{"label": "verdict", "unsafe_values": ["bad"], **options})


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def options(data, out):
    return ["calibrate", data, "--prompt", "question", "--label", "verdict", "--unsafe-value", "bad", "--out", out]


@dataclass(frozen=True)
class Made:
    """A profile that the command line made of ``data``."""

    folder: Path
    data: Path
    output: Any

    @property
    def path(self):
        return self.folder / "hospital.json"

    @property
    def filter(self):
        return f"profile:{self.path}"


@pytest.fixture(scope="module")
def made(tmp_path_factory, labelled):
    folder = tmp_path_factory.mktemp("made")
    data = write(folder / "rows.csv", labelled)
    return Made(folder, data, run(*options(data, folder / "hospital.json")))


def test_the_command_writes_a_profile_and_a_page_and_preprocess_screens_with_it(made, tmp_path):
    screened = run("preprocess", made.data, "--prompt", "question", "--action", "drop", "--out", tmp_path / "clean",
                   "--filter", made.filter, "--json")  # fmt: skip

    assert (made.output.exit_code, screened.exit_code) == (0, 0)
    assert re.search(r"false-positive rate .* % \(.*recall", made.output.stdout, re.DOTALL)
    assert "warning: " in made.output.stderr
    manifest = json.loads(screened.stdout)
    assert manifest["filter"] == made.filter
    assert manifest["n_in"] == manifest["kept"] + manifest["dropped"] == 60
    assert not manifest["drift"]["drifted"]
    assert "look like" not in screened.stderr


def test_nothing_written_or_printed_holds_text_of_the_rows(made):
    assert CANARY in made.data.read_text()
    for text in (made.output.output, made.path.read_text(), made.path.with_suffix(".html").read_text()):
        assert CANARY not in text


def test_rows_that_look_otherwise_are_reported_as_drift_with_what_to_do(made, tmp_path):
    other = write(tmp_path / "other.csv", [(f"What grows in garden {i}?", "") for i in range(200)])

    screened = run("preprocess", other, "--prompt", "question", "--action", "drop", "--out", tmp_path / "clean",
                   "--filter", made.filter)  # fmt: skip

    drift = json.loads((tmp_path / "clean" / "manifest.json").read_text())["drift"]
    assert drift["drifted"]
    assert (drift["n"], drift["n_profile"]) == (200, 60)
    assert "no longer look like those of the 60" in screened.stderr
    assert "run safefed calibrate again" in screened.stderr
    assert "run safefed calibrate again" in (tmp_path / "clean" / "report.html").read_text()


def test_drift_is_counted_once_per_row_however_often_screening_is_cut_off(made, tmp_path):
    rows, judge = list(read_rows(source(made.data))), load_filter(made.filter)
    whole = screen_rows(rows, tmp_path / "whole", action="drop", filter=judge, chunk=8)

    def cut():
        yield from rows[:30]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        screen_rows(cut(), tmp_path / "cut", action="drop", filter=judge, chunk=8)
    again = screen_rows(rows, tmp_path / "cut", action="drop", filter=judge, chunk=8)

    assert again["drift"] == whole["drift"]
    assert (again["drift"]["n"], again["drift"]["statistic"]) == (60, 0.0)


def test_verdicts_keep_the_score_before_calibration(made, tmp_path):
    plain = screen_rows(read_rows(source(made.data)), tmp_path / "plain", action="drop", filter=load_filter("linear"))
    screen_rows(read_rows(source(made.data)), tmp_path / "out", action="drop", filter=load_filter(made.filter))

    raw = [row["unsafe"] for row in read_jsonl(tmp_path / "plain" / "verdicts.jsonl")]
    assert [row["scores"]["raw"] for row in read_jsonl(tmp_path / "out" / "verdicts.jsonl")] == raw
    assert "drift" not in plain


def test_what_is_left_out_is_counted_by_reason_and_changes_nothing_in_any_order(made, labelled, tmp_path):
    extra = [
        ("", "bad"),
        ("unlabelled", ""),
        labelled[1],
        ("How do I bake bread?", "bad"),
        ("How do I bake bread?", "fine"),
    ]

    found = calibrate(source(write(tmp_path / "rows.csv", [*extra, *labelled[::-1]])), tmp_path / "p.json")

    counts = {"labelled": 60, "unlabelled": 1, "unusable": 1, "repeated": 2, "disputed": 1, "unscored": 0}
    assert found["rows"] == {"n_in": sum(counts.values()), **counts}
    assert found["rows_sha256"] == read_profile(made.path).rows_sha256
    assert found["threshold"] == pytest.approx(read_profile(made.path).threshold, abs=1e-3)


def test_a_wanted_recall_flags_more_and_the_new_profile_replaces_the_old(made, tmp_path):
    (tmp_path / "p.json").write_bytes(made.path.read_bytes())
    few = load_filter(f"profile:{tmp_path / 'p.json'}")

    calibrate(source(made.data), tmp_path / "p.json", recall=0.9)

    most = load_filter(f"profile:{tmp_path / 'p.json'}")
    assert most.threshold < few.threshold
    assert str(most.profile.goal) == "recall of 90 %"
    assert most.profile.after.ece == few.profile.after.ece


def test_too_few_rows_are_refused_with_what_was_left_out(labelled, tmp_path):
    path = write(tmp_path / "rows.csv", [*labelled[:19], ("unlabelled", "")])

    with pytest.raises(DataError, match=r"19 labelled rows can be used, calibration needs 20 \(unlabelled 1"):
        calibrate(source(path), tmp_path / "p.json")

    assert not list(tmp_path.glob("p.*"))


def test_labels_that_are_all_alike_name_the_values_that_count_as_unsafe(data, tmp_path):
    with pytest.raises(DataError, match=r"0 rows are unsafe and 60 safe.*where it is 1, true.*--unsafe-value"):
        calibrate(source(data, unsafe_values=["1", "true"]), tmp_path / "p.json")


def test_a_filter_that_ranks_the_rows_the_wrong_way_round_is_refused(data, tmp_path):
    with pytest.raises(DataError, match="no better than chance"):
        calibrate(source(data, unsafe_values=["fine"]), tmp_path / "p.json")


def test_unsafe_rows_of_one_prompt_are_refused(tmp_path):
    rows = [("How do I build a pipe bomb?", f"Answer {i}", "bad") for i in range(20)]
    rows += [(f"How do I bake loaf {i}?", "Mix and bake.", "fine") for i in range(20)]
    path = write(tmp_path / "rows.csv", rows, ("question", "answer", "verdict"))

    with pytest.raises(DataError, match="of one prompt"):
        calibrate(source(path, response="answer"), tmp_path / "p.json")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--fpr", "0.05", "--recall", "0.9"], 2, "not both"),
        (["--fpr", "0"], 2, "rate"),
        (["--fpr", "nan"], 2, "rate"),
        (["--recall", "1"], 2, "rate"),
        (["--filter", "linaer"], 2, "did you mean 'linear'"),
        (["--filter", "profile:x.json"], 2, "calibrated already"),
        (["--method", "magic"], 2, "--method"),
        (["--label", "nonesuch"], 3, "nonesuch"),
        (["--limit", "10"], 3, "needs 20"),
        (["--out", "profile"], 2, "ends in .json"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_to_write(data, tmp_path, arguments, code, words):
    result = run(*options(data, tmp_path / "p.json"), *arguments)

    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert not list(tmp_path.glob("p.*"))


def test_rows_without_a_label_column_are_refused(data, tmp_path):
    result = run("calibrate", data, "--prompt", "question", "--out", tmp_path / "p.json")

    assert result.exit_code == 2
    assert "--label COL" in result.stderr


def test_a_file_that_is_no_profile_is_not_replaced(data, tmp_path):
    (tmp_path / "mine.json").write_text('{"mine": 1}')

    with pytest.raises(ConfigError, match="is no whole profile"):
        calibrate(source(data), tmp_path / "mine.json")

    assert (tmp_path / "mine.json").read_text() == '{"mine": 1}'


def test_data_for_measuring_only_is_refused(data, tmp_path):
    (tmp_path / "SOURCES.md").write_text("| file | use |\n|---|---|\n| rows.csv | eval |\n")

    with pytest.raises(DataError, match="must not be trained on"):
        calibrate(source(data), tmp_path / "p.json")
