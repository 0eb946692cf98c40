"""C5 and B8: what must stay unloaded until a command really needs it."""

import json
import subprocess
import sys

import pytest

import safefed

HELPED = ("run", "preprocess", "report-data", "calibrate", "fit-filter", "train", "benchmark", "doctor")
HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "flwr",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "detoxify",
    "peft",
    "trl",
)
REPORT = f"\nimport json, sys; print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))), file=sys.stderr)"


def loaded_by(code):
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def calling(*commands):
    return f"""
import contextlib, sys
from safefed.cli import main
for command in {commands!r}:
    sys.argv = ["safefed", *command]
    with contextlib.suppress(SystemExit):
        main()
"""


def test_importing_safefed_loads_no_heavy_library():
    assert loaded_by("import safefed, safefed.cli, safefed.filters, safefed.constitution, safefed.eval") == []


def test_the_help_of_every_command_loads_no_heavy_library():
    commands = [["--help"], *([name, "--help"] for name in HELPED)]

    assert loaded_by(calling(*commands)) == []


@pytest.fixture(scope="module")
def refusals():
    commands = {
        "unknown key": ["run", "--set", "train.round=5"],
        "wrong type": ["train", "--set", "train.rounds='five'"],
        "out of range": ["run", "--set", "data.unsafe_share=1.5"],
        "not a number": ["run", "--set", "train.learning_rate=nan"],
        "no such file": ["run", "absent.toml"],
        "threshold": ["preprocess", "absent.csv", "--out", "x", "--threshold", "nan"],
        "policy": ["preprocess", "absent.csv", "--out", "x", "--policy", "S44=drop"],
        "suite": ["benchmark", "tiny", "--path", "advbench"],
    }
    code = """
import sys
from typer.testing import CliRunner
from safefed.cli import app
import json
results = {}
for name, command in json.loads(sys.argv[1]).items():
    result = CliRunner().invoke(app, command)
    results[name] = [result.exit_code, result.stderr]
print(json.dumps(results))
"""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout) | {"loaded": json.loads(done.stderr.splitlines()[-1])}


@pytest.mark.parametrize(
    ("case", "named"),
    [
        ("unknown key", "train.round"),
        ("wrong type", "train.rounds"),
        ("out of range", "data.unsafe_share"),
        ("not a number", "train.learning_rate"),
        ("no such file", "absent.toml"),
        ("threshold", "threshold"),
        ("policy", "S44"),
        ("suite", "--path"),
    ],
)
def test_a_wrong_setting_exits_2_and_is_named(refusals, case, named):
    code, message = refusals[case]

    assert code == 2
    assert named in message
    assert "Traceback" not in message


def test_a_wrong_setting_is_refused_before_any_heavy_library_is_loaded(refusals):
    assert refusals["loaded"] == []


def test_the_four_jobs_are_attributes_of_the_package():
    assert {"benchmark", "preprocess", "run", "train"} <= set(dir(safefed))
    for job in ("benchmark", "preprocess", "run", "train"):
        assert callable(getattr(safefed, job))


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = safefed.nonesuch
