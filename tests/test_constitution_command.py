import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safefed.cli import app
from safefed.constitution import SHIPPED, load_constitution

MINE = """
name: mine
version: "2"
principles:
  - {id: a, title: A, hazards: [S1, S10], critique_request: c, revision_request: r,
     examples: [{request: q, answer: a, critique: b, revision: d}]}
  - {id: b, title: B, hazards: all, critique_request: c, revision_request: r}
"""


def call(*arguments: str):
    return CliRunner().invoke(app, ["constitution", *arguments])


def mine(folder: Path, text: str = MINE) -> str:
    (folder / "mine.yaml").write_text(text)
    return str(folder / "mine.yaml")


@pytest.mark.parametrize("command", ["check", "show"])
def test_the_help_shows_an_example(command: str):
    assert f"$ safefed constitution {command}" in call(command, "--help").output


def test_check_says_name_version_hash_and_who_answers_which_hazard(tmp_path: Path):
    result = call("check", mine(tmp_path))

    assert result.exit_code == 0
    for part in ("mine", "2", load_constitution(mine(tmp_path)).revision[:12], "S1 S10", "S2 S3 S4"):
        assert part in result.stdout


def test_check_as_json_is_one_document_with_the_whole_hash(tmp_path: Path):
    found = json.loads(call("check", mine(tmp_path), "default", "--json").stdout)["constitutions"]

    assert [row["name"] for row in found] == ["mine", "default"]
    assert found[0]["revision"] == load_constitution(mine(tmp_path)).revision
    assert (found[0]["principles"], found[0]["examples"], found[0]["specific"]) == (2, 1, ["S1", "S10"])
    assert found[1]["general_only"] == []


def test_check_says_every_problem_of_all_files_shows_the_sound_ones_and_exits_2(tmp_path: Path):
    result = call("check", "default", mine(tmp_path, MINE + "colour: red\nweight: 2\n"), str(tmp_path / "absent.yaml"))

    assert result.exit_code == 2
    assert "default" in result.stdout
    for part in ("colour: unknown key", "weight: unknown key", "absent.yaml cannot be read"):
        assert part in result.stderr


@pytest.mark.parametrize("name", [*SHIPPED, "mine"])
def test_what_show_prints_reads_as_the_same_constitution(tmp_path: Path, name: str):
    source = mine(tmp_path) if name == "mine" else name

    shown = call("show", source).stdout
    (tmp_path / "again.yaml").write_text(shown)

    assert load_constitution(tmp_path / "again.yaml") == load_constitution(source)
