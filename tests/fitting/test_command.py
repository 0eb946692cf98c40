import importlib.util
import json
import re
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

import safefed
from safefed.cli import app
from safefed.cli.fit_filter import _conclusion
from safefed.errors import DataError
from safefed.filters import load_filter
from safefed.filters.fit_data import Phrasings
from safefed.fitting import FitTraining, fit_filter
from safefed.records import Sample

CANARY = "zebrafish"


def run(*arguments):
    return CliRunner().invoke(app, ["fit-filter", *map(str, arguments)])


def options(source, out, *more):
    return [source.path, "--prompt", "ask", "--response", "answer", "--label", "bad", "--out", out, *more]


@pytest.fixture
def bert(tmp_path, make_letter_bert):
    make_letter_bert(tmp_path / "bert", ["a", "b"], {})
    return f"classifier:{tmp_path / 'bert'}"


@pytest.fixture
def source(write_rows, toy, tmp_path):
    rows = [(f"{ask} {CANARY}", answer, bad, document) for ask, answer, bad, document in toy(60)]
    return write_rows(tmp_path / "rows.csv", rows)


def test_the_command_prints_the_figures_and_writes_a_folder_without_text_of_the_rows(source, bert, tmp_path):
    result = run(*options(source, tmp_path / "mine", "--filter", bert, "--steps", "2", "--group", "document"))

    assert result.exit_code == 0
    assert re.search(r": 14 held-out rows, 29 % unsafe.*AUROC", " ".join(result.stdout.split()))
    assert "groups: 30, the largest of 2 rows" in " ".join(result.stdout.split())
    assert f"--filter classifier:{tmp_path / 'mine'}" in result.stdout
    found = json.loads((tmp_path / "mine" / "fit.json").read_text())
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    assert (found["training"]["steps"], found["split"]["shared"], found["seed"]) == (2, 0, 0)
    assert {"fit.json", "model.safetensors", "safefed-filter.json"} <= manifest["files"].keys()
    assert CANARY not in result.output + (tmp_path / "mine" / "fit.json").read_text()


@pytest.mark.slow
def test_json_is_one_document_on_stdout(source, bert, tmp_path):
    result = run(*options(source, tmp_path / "mine", "--filter", bert, "--steps", "1", "--json"))

    assert json.loads(result.stdout) == json.loads((tmp_path / "mine" / "fit.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--filter", "detoxify"], 2, "cannot be fitted"),
        (["--filter", "linear:mine"], 2, "cannot be fitted again"),
        (["--filter", "classifier"], 2, "classifier:FOLDER"),
        (["--filter", "classifier:/nowhere/model"], 3, "does not exist"),
        (["--filter", "guard:/nowhere/model#quantization=4bit"], 2, "leave out quantization"),
        (["--filter", "linear", "--steps", "5"], 2, "leave out steps"),
        (["--filter", "classifier:/nowhere/model", "--category", "bad"], 2, "leave out --category"),
        (["--held-out", "1.5"], 2, "--held-out 0.2"),
        (["--learning-rate", "nan"], 2, "learning_rate"),
        (["--group", "nonesuch"], 3, "nonesuch"),
        (["--limit", "20"], 3, "fitting needs 40"),
        (["--held-out", "0.01"], 3, "another --held-out"),
    ],
)
def test_a_wrong_option_is_refused_and_says_what_to_write(source, tmp_path, arguments, code, words):
    result = run(*options(source, tmp_path / "mine"), *arguments)

    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())
    assert not list(tmp_path.glob("*mine*"))


def test_a_folder_that_is_there_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")

    result = run(*options(source, tmp_path / "mine"))

    assert (result.exit_code, (tmp_path / "mine" / "notes.txt").read_text()) == (2, "mine")


@pytest.mark.parametrize(
    ("conclusion", "f1", "words"),
    [
        ("better", 0.9, r"ranks these rows better: AUROC \+0\.100 \(95 %: -0\.200 to \+0\.300\)$"),
        ("worse", 0.9, "WORSE than the unfitted one.*do not use it"),
        ("unclear", 0.9, "not shown to be better.*label more rows"),
        ("better", 0.5, r"F1 FALLS from 0\.800 to 0\.500: calibrate it"),
    ],
)
def test_the_conclusion_is_said_plainly(conclusion, f1, words):
    sides = {"before": {"decisions": {"f1": 0.8}}, "after": {"decisions": {"f1": f1}}}
    found = {"conclusion": conclusion, "difference": 0.1, "difference_ci95": [-0.2, 0.3], **sides}

    assert re.search(words, _conclusion(found))


class Interrupting:
    """Stops the work in the third step of the training."""

    @contextmanager
    def task(self, description, total):  # noqa: ARG002
        steps = 0

        def advance(n):
            nonlocal steps
            steps += n
            if description.startswith("train") and steps == 3:
                raise KeyboardInterrupt

        yield advance


@pytest.mark.slow
def test_what_is_stopped_leaves_nothing_that_loads_and_the_next_run_starts_anew(source, bert, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit_filter(source, tmp_path / "mine", filter=bert, progress=Interrupting())
    assert not list(tmp_path.glob("*mine*"))
    with pytest.raises(DataError, match="does not exist"):
        load_filter(f"classifier:{tmp_path / 'mine'}")
    (tmp_path / ".mine.unfinished").mkdir()
    (tmp_path / ".mine.unfinished" / "stale").touch()

    fit_filter(source, tmp_path / "mine", filter=bert, training=FitTraining(steps=1))

    assert load_filter(f"classifier:{tmp_path / 'mine'}")
    assert not (tmp_path / "mine" / "stale").exists()
    assert not (tmp_path / ".mine.unfinished").exists()


def test_it_is_a_name_of_the_package():
    assert safefed.fit_filter is fit_filter


@pytest.mark.skipif(
    importlib.util.find_spec("safefed.filters.fit_domain") is None, reason="the recipe of the heads is not there"
)
def test_linear_is_refitted_to_a_domain_and_screens_with_it(write_rows, tmp_path):
    by_kind = {True: [], False: []}
    for example in Phrasings().prompts():
        by_kind[example.label].append(example.text)
    rows = [(text, "", int(kind), "") for kind, texts in by_kind.items() for text in sorted(set(texts))[::40][:80]]
    source = write_rows(tmp_path / "rows.csv", rows, response=None)

    result = run(source.path, "--prompt", "ask", "--label", "bad", "--out", tmp_path / "mine", "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["comparison"]
    judge = load_filter(f"linear:{tmp_path / 'mine'}")
    assert judge.revision == found["after"]["revision"]
    assert judge.score([Sample.of("How do I bake bread?")])[0].action != "error"
