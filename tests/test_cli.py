import json
import os

import pytest
import typer
from typer.testing import CliRunner

from safefed import __version__
from safefed.cli import app
from safefed.cli.app import Commands
from safefed.cli.output import print_json, working
from safefed.errors import DataError, GateRefused, IntegrityError, QuorumError

COMMANDS = ("run", "preprocess", "report-data", "export", "calibrate", "train", "benchmark", "constitution", "doctor")


def call(*arguments, command=app):
    return CliRunner().invoke(command, list(arguments))


def failing(error, resumable=False):
    """A command line like safefed's own whose one command fails with ``error``."""
    command_line = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @command_line.callback()
    def root(debug: bool = False): ...

    if resumable:

        @command_line.command()
        def work(resume: bool = False):  # noqa: ARG001
            raise error
    else:

        @command_line.command()
        def work():
            raise error

    return command_line


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(command):
    result = call(command, "--help")

    assert result.exit_code == 0
    assert f"$ safefed {command}" in result.output


def test_version_prints_the_version_and_nothing_else():
    result = call("--version")

    assert result.stdout == f"safefed {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(DataError("x"), 3), (IntegrityError("x"), 4), (QuorumError("x"), 5), (GateRefused("x"), 6), (OSError("x"), 1)],
)
def test_an_error_is_one_message_on_stderr_and_its_exit_code(error, code):
    result = call("work", command=failing(error))

    assert result.exit_code == code
    assert result.stderr == "error: x\n"
    assert result.stdout == ""


def test_debug_adds_the_traceback_and_keeps_the_exit_code():
    result = call("--debug", "work", command=failing(DataError("x")))

    assert result.exit_code == 3
    assert "Traceback" in result.stderr


def test_a_bug_is_not_dressed_up_as_an_error_of_the_user():
    result = call("work", command=failing(ZeroDivisionError("x")))

    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(("resumable", "words"), [(True, "with --resume"), (False, "again")])
def test_ctrl_c_exits_130_and_says_how_to_go_on(resumable, words):
    result = call("work", command=failing(KeyboardInterrupt(), resumable))

    assert result.exit_code == 130
    assert f"run the same command {words} to go on" in result.stderr


def test_an_unknown_arm_is_refused_and_the_known_ones_are_named():
    result = call("run", "--arm", "fedavg", "--arm", "fedmagic")

    assert result.exit_code == 2
    assert "no arm fedmagic" in result.stderr
    assert "fedavg+filter+cai" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--join", "q.csv"], "--join-key"),
        (["--join-column", "text"], "--join FILE"),
        (["--bucket", "half"], "--bucket 0/2"),
        (["--where", "split"], "--where NAME=VALUE"),
        (["--format", "parquet"], "--format"),
        (["--action", "burn"], "--action"),
        (["--policy", "S4"], "--policy NAME=VALUE"),
        (["--policy", "S44=drop"], "S44"),
        (["--policy", "S4=burn"], "S4"),
        (["--policy", "S4=drop", "--action", "oracle"], "choose revise or drop"),
    ],
)
def test_a_half_given_preprocess_option_exits_2_and_says_what_to_write(tmp_path, options, words):
    result = call("preprocess", "rows.csv", "--out", str(tmp_path / "out"), *options)

    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_only_the_result_reaches_stdout_whatever_libraries_and_children_print(capfd):
    with working():
        print("a library talks")
        os.system("echo a child talks")
    print_json({"answer": 42})

    out, err = capfd.readouterr()

    assert json.loads(out) == {"answer": 42}
    assert "a library talks" in err
    assert "a child talks" in err


def test_the_users_own_environment_wins_over_the_quiet_defaults(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    call("run", "absent.toml")

    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A data set that the command made, and what it printed."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "rows.csv").write_text("prompt,response,label\nq1,a1,0\nq2,a2,1\nq3,a3,0\n")
    columns = ("--prompt", "prompt", "--response", "response", "--label", "label")
    command = ("preprocess", str(folder / "rows.csv"), "--out", str(folder / "clean"), "--action", "oracle", *columns)
    return folder / "clean", command, call(*command)


def test_preprocess_writes_a_report_with_its_speed_and_names_it(clean):
    folder, _, result = clean

    assert result.exit_code == 0, result.output
    assert f"report: {folder / 'report.html'}" in result.stdout
    html = (folder / "report.html").read_text("utf-8")
    assert "Of 3 rows 2 were kept and 1 dropped." in html
    assert "<h2>Time</h2>" in html


def test_the_same_command_again_leaves_data_and_report_as_they_are(clean):
    folder, command, _ = clean
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert call(*command).exit_code == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_report_that_is_missing_is_written_again(clean, tmp_path):
    folder, command, _ = clean
    (folder / "report.html").rename(tmp_path / "report.html")

    assert call(*command).exit_code == 0
    assert "Of 3 rows" in (folder / "report.html").read_text("utf-8")


def test_report_data_writes_where_it_is_told_and_compares(clean, tmp_path):
    folder, _, _ = clean

    result = call("report-data", str(folder), "--compare", str(folder), "--out", str(tmp_path / "page.html"))

    assert result.exit_code == 0, result.output
    assert result.stdout == f"report: {tmp_path / 'page.html'}\n"
    assert "Compared with clean" in (tmp_path / "page.html").read_text("utf-8")


def test_report_data_without_a_data_set_exits_3_and_says_what_to_run(tmp_path):
    result = call("report-data", str(tmp_path))

    assert result.exit_code == 3
    assert "safefed preprocess" in result.stderr
