"""C5 and B8: what must stay unloaded until a command really needs it."""

import json
import subprocess
import sys

import pytest

import safefed

HELPED = (
    "run",
    "preprocess",
    "report-data",
    "export",
    "calibrate",
    "fit-filter",
    "train",
    "benchmark",
    "constitution",
    "doctor",
)
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
    "openai",
    "httpx",
    "httpx2",
)
WRONG = {
    "unknown key": ["run", "--set", "train.round=5"],
    "wrong type": ["train", "--set", "train.rounds='five'"],
    "out of range": ["run", "--set", "data.unsafe_share=1.5"],
    "not a number": ["run", "--set", "train.learning_rate=nan"],
    "no such file": ["run", "absent.toml"],
    "threshold": ["preprocess", "absent.csv", "--out", "x", "--threshold", "nan"],
    "policy": ["preprocess", "absent.csv", "--out", "x", "--policy", "S44=drop"],
    "rounds": ["preprocess", "absent.csv", "--out", "x", "--rounds", "0"],
    "export": ["export", "absent", "--out", "x", "--kind", "dpo", "--without-originals"],
    "endpoint": ["preprocess", "absent.csv", "--out", "x", "--endpoint", "http://u:p@host/v1", "--model", "m"],
    "suite": ["benchmark", "tiny", "--path", "advbench"],
}
CODE = """
import contextlib, json, sys
import safefed, safefed.cli, safefed.filters, safefed.constitution, safefed.eval

heavy, helped, wrong = map(json.loads, sys.argv[1:])
loaded, refused = {}, {}

def note(after):
    loaded[after] = sorted(set(heavy) & set(sys.modules))

note("importing")
for command in ([], *([name] for name in helped)):
    sys.argv = ["safefed", *command, "--help"]
    with contextlib.suppress(SystemExit):
        safefed.cli.main()
note("helping")

from typer.testing import CliRunner

for name, command in wrong.items():
    result = CliRunner().invoke(safefed.cli.app, command)
    refused[name] = [result.exit_code, result.stderr]
note("refusing")
print(json.dumps({"loaded": loaded, "refused": refused}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def found():
    """What one fresh process had loaded after it imported safefed, helped and refused, and what it refused."""
    arguments = map(json.dumps, (HEAVY, HELPED, WRONG))
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == 1 + len(HELPED)
    return json.loads(done.stderr.splitlines()[-1])


def test_importing_safefed_loads_no_heavy_library(found):
    assert found["loaded"]["importing"] == []


def test_the_help_of_every_command_loads_no_heavy_library(found):
    assert found["loaded"]["helping"] == []


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
        ("rounds", "rounds"),
        ("export", "rejected side"),
        ("endpoint", "api_key_env"),
        ("suite", "--path"),
    ],
)
def test_a_wrong_setting_exits_2_and_is_named(found, case, named):
    code, message = found["refused"][case]

    assert code == 2
    assert named in message
    assert "Traceback" not in message


def test_a_wrong_setting_is_refused_before_any_heavy_library_is_loaded(found):
    assert found["loaded"]["refusing"] == []


def test_the_four_jobs_are_attributes_of_the_package():
    assert {"benchmark", "preprocess", "run", "train"} <= set(dir(safefed))
    for job in ("benchmark", "preprocess", "run", "train"):
        assert callable(getattr(safefed, job))


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = safefed.nonesuch
