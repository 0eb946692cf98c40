import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from safefed.constitution import load_constitution
from safefed.errors import ConfigError
from safefed.records import HAZARDS

ENTRY = "{id: a, title: A, hazards: all, critique_request: c, revision_request: r"
WHOLE = f"name: one\nprinciples:\n  - {ENTRY}}}\n"
KEYS = (
    *("name", "version", "extends", "drop", "principles", "refusals", "id", "title", "hazards", "critique_request"),
    *("revision_request", "examples", "request", "answer", "constitutions", "system_chat", "critic", "revision"),
    *("role", "content", "prompt", "edit_request", 1, None),
)


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_constitution(path)
    return str(caught.value)


def test_all_problems_of_a_file_are_said_at_once(tmp_path: Path):
    path = written(
        tmp_path,
        """
name: mine
colour: red
version: 1
principles:
  - {id: a, title: A, hazards: [S1, S99], critique_request: c, revision_request: r}
  - {id: a, title: A, hazards: [S2], critique_request: '', revision_request: "<|im_start|>", weight: 2}
  - {id: b, title: B, hazards: none, critique_request: c, revision_request: r, examples: [{answr: x}]}
  - just a text
refusals: []
drop: [z]
""",
    )

    message = refused(path)

    assert f"{path} has 17 problem(s)" in message
    for part in (
        "colour: unknown key", "version: must be a text", "principle 1 (a): hazards: 'S99'",
        "principle 2 (a): critique_request: must be a text", "principle 2 (a): revision_request: holds a control token",
        "principle 2 (a): weight: unknown key", "id 'a' is used 2 times", "principle 3 (b): hazards: must be 'all'",
        "principle 3 (b): example 1: request: is missing", "example 1: answr: unknown key; did you mean answer?",
        "principle 4: must be a mapping", "refusals: must not be empty", "drop: 'z'", "S14 (code interpreter abuse)",
    ):  # fmt: skip
        assert part in message


@pytest.mark.parametrize("text", ["", "- a list", "principles: []\nname: x", "a: [", "name: x", "1: 2", "name: \x00"])
def test_a_file_that_is_no_constitution_is_a_config_error(tmp_path: Path, text: str):
    assert "mine.yaml" in refused(written(tmp_path, text))


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path):
    forgotten_dash = WHOLE + "refusals: [No.]\nname: two\n"

    assert "line 5: 'name' stands twice" in refused(written(tmp_path, forgotten_dash))


def test_a_missing_file_says_what_to_give_instead(tmp_path: Path):
    assert "give default, minimal, helpful-first, or a YAML or JSON file" in refused(tmp_path / "absent.yaml")


def test_a_general_principle_alone_covers_all_hazards(tmp_path: Path):
    assert load_constitution(str(written(tmp_path, WHOLE))).principles[0].hazards == tuple(HAZARDS)


def test_a_document_without_refusals_has_those_of_the_default(tmp_path: Path):
    own = load_constitution(written(tmp_path, WHOLE + "refusals: ['No, \n  thanks.']\n"))
    none = load_constitution(written(tmp_path, WHOLE))

    assert own.refusals == ("No, thanks.",)
    assert none.refusals == load_constitution().refusals


def test_examples_keep_their_lines_and_are_optional(tmp_path: Path):
    example = '{request: q, answer: "1. a\\n2. b", critique: bad, revision: good}'
    path = written(tmp_path, f"name: one\nprinciples:\n  - {ENTRY}, examples: [{example}]}}\n")

    (principle,) = load_constitution(path).principles

    assert [e.answer for e in principle.examples] == ["1. a\n2. b"]
    assert load_constitution(written(tmp_path, WHOLE)).principles[0].examples == ()


def test_a_child_replaces_adds_and_drops_and_keeps_the_rest(tmp_path: Path):
    path = written(
        tmp_path,
        """
name: bank
version: "3"
extends: default
drop: [no-erotica]
principles:
  - {id: no-crime, title: Money, hazards: [S2], critique_request: 'Whose money?', revision_request: Give it back.}
  - {id: no-advice, title: Shares, hazards: [S6], critique_request: 'Which share?', revision_request: None.}
""",
    )
    default = {p.id: p for p in load_constitution().principles}

    child = load_constitution(path)

    own = {p.id: p for p in child.principles}
    assert (child.name, child.version) == ("bank", "3")
    assert set(own) == set(default) - {"no-erotica"} | {"no-advice"}
    assert own["no-crime"].critique_request == "Whose money?"
    assert all(own[id_] == p for id_, p in default.items() if id_ not in ("no-erotica", "no-crime"))
    assert child.refusals == load_constitution().refusals
    assert child.revision != load_constitution().revision


def test_a_parent_is_found_beside_the_file_and_may_have_a_parent_itself(tmp_path: Path, monkeypatch):
    (tmp_path / "shared").mkdir()
    written(tmp_path, "name: base\nextends: minimal\nrefusals: [No.]\n", "shared/base.yaml")
    written(tmp_path, "name: child\nextends: shared/base.yaml\ndrop: [honest]\n")
    monkeypatch.chdir("/")

    child = load_constitution(tmp_path / "mine.yaml")

    assert [p.id for p in child.principles] == ["no-harm", "no-wrongdoing", "respect"]
    assert child.refusals == ("No.",)


def test_a_circle_is_reported_and_not_followed(tmp_path: Path):
    written(tmp_path, "name: a\nextends: b.yaml\n", "a.yaml")
    written(tmp_path, f"name: b\nextends: ../{tmp_path.name}/a.yaml\n", "b.yaml")
    itself = written(tmp_path, "name: c\nextends: c.yaml\n", "c.yaml")

    assert "a.yaml extends itself" in refused(tmp_path / "a.yaml")
    assert "c.yaml extends itself" in refused(itself)


def test_an_unknown_parent_is_reported_with_the_childs_own_problems(tmp_path: Path):
    message = refused(written(tmp_path, f"name: x\nextends: defualt\nprinciples:\n  - {ENTRY}, colour: red}}\n"))

    assert "principle 1 (a): colour: unknown key" in message
    assert "extends: constitution" in message
    assert "give default, minimal, helpful-first" in message


def test_the_problems_of_a_parent_are_said_with_the_childs(tmp_path: Path):
    written(tmp_path, WHOLE + "colour: red\n", "base.yaml")

    message = refused(written(tmp_path, "name: x\nextends: base.yaml\nweight: 2\n"))

    assert "weight: unknown key" in message
    assert "colour: unknown key" in message


def test_what_a_child_leaves_unanswered_and_drops_in_vain_is_named(tmp_path: Path):
    path = written(
        tmp_path,
        "name: x\nextends: minimal\ndrop: [no-harm, no-wrongdoing, respect, honest, no-such]\n"
        f"principles:\n  - {ENTRY.replace('all', '[S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13]')}}}\n",
    )

    message = refused(path)

    assert "no principle answers S14 (code interpreter abuse)" in message
    assert "drop: 'no-such' is not the id of an inherited principle" in message
    assert "2 problem(s)" in message


def test_the_example_of_the_documentation_is_a_constitution(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "constitution.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]

    bank = load_constitution(written(tmp_path, example))

    own = {principle.id: principle for principle in bank.principles}
    assert (bank.name, len(own), len(bank.refusals)) == ("bank", 16, 1)
    assert len(own["no-crime"].examples) == 1


leaves = st.sampled_from([None, 1, True, "", "all", "S1", "default", "x"])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_a_file_of_anything_else_is_a_config_error_that_names_it(tree):
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), yaml.safe_dump(tree))

        assert str(path) in refused(path)
