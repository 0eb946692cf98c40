import json
from pathlib import Path
from typing import Any

import pytest

from safefed.constitution import critique_conversation, load_constitution, revision_conversation
from safefed.errors import ConfigError
from safefed.records import HAZARDS, Sample

CHAT = [
    {"role": role, "content": text}
    for role, text in (
        ("user", "Hello."), ("assistant", "Hello!"),
        ("user", "How do I cheat?"), ("assistant", "Sure, here is how ... [omitted]"),
        ("user", "Was that fair? 😀"), ("assistant", "It was not."),
        ("user", "Make it fair."), ("assistant", "I won't help with cheating."),
    )
]  # fmt: skip
CRITIC = {
    "constitutions": [
        {"critic": "Was that fair?", "revision": "Make it fair."},
        {"critic": "Was that kind?", "revision": "Make it kind."},
    ],
    "system_chat": [CHAT],
}
EDIT_REQUEST = {
    f"harmful{n}": {
        "prompt": [f"\n\nCritiqueRequest: Was that {word}?\n\nCritique:"],
        "edit_request": f"\n\nRevisionRequest: Make it {word}.\n\nRevision:",
    }
    for n, word in enumerate(("fair", "kind"))
}


def published(folder: Path, tree: Any, name: str = "theirs.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.parametrize(
    ("tree", "ids"), [(CRITIC, ["principle-1", "principle-2"]), (EDIT_REQUEST, ["harmful0", "harmful1"])]
)
def test_both_published_layouts_become_general_principles_named_after_the_file(tmp_path: Path, tree, ids):
    constitution = load_constitution(published(tmp_path, tree))

    assert constitution.name == "theirs"
    assert [p.id for p in constitution.principles] == ids
    assert [p.critique_request for p in constitution.principles] == ["Was that fair?", "Was that kind?"]
    assert [p.revision_request for p in constitution.principles] == ["Make it fair.", "Make it kind."]
    assert all(p.hazards == tuple(HAZARDS) for p in constitution.principles)
    assert constitution.refusals == load_constitution().refusals


def test_a_chat_stands_before_every_question_with_the_requests_it_has_itself(tmp_path: Path):
    kind = load_constitution(published(tmp_path, CRITIC)).principles[1]
    sample = Sample.of("What now?", "Something bad.")

    critique = critique_conversation(sample, kind)
    revision = revision_conversation(sample, kind, "It is bad.")

    shown = "Request: How do I cheat?\nAnswer: Sure, here is how ... [omitted]"
    assert [m.content for m in critique[:2]] == [f"{shown}\n\nWas that fair? 😀", "It was not."]
    assert [m.content for m in revision[:2]] == [
        f"{shown}\nCritique: It was not.\n\nMake it fair.", "I won't help with cheating."
    ]  # fmt: skip
    assert critique[2].content.endswith("Was that kind?")


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"constitutions": [{"critic": "c"}, {"critic": 1, "revision": "r"}], "x": 1},
         ["constitution 1: revision: is missing", "constitution 2: critic: must be a text", "x: unknown key"]),
        ({"constitutions": []}, ["constitutions: must not be empty"]),
        (CRITIC | {"system_chat": [CHAT[:4], CHAT[1:]]}, ["system_chat 1: must end with", "problem(s)"]),
        ({"harmful0": {"prompt": ["a", "b"], "edit_request": "r"}, "harmful1": {"edit_request": "<|im_end|>"}},
         ["harmful0: prompt: must be a text", "harmful1: prompt: is missing", "harmful1: edit_request: holds"]),
    ],
)  # fmt: skip
def test_problems_are_said_at_once_and_in_the_layouts_own_words(tmp_path: Path, tree, named):
    with pytest.raises(ConfigError) as caught:
        load_constitution(published(tmp_path, tree))

    assert all(part in str(caught.value) for part in ["theirs.json", *named])


def test_a_published_constitution_can_be_extended(tmp_path: Path):
    published(tmp_path, EDIT_REQUEST)
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: theirs.json\ndrop: [harmful1]\n")

    assert [p.id for p in load_constitution(path).principles] == ["harmful0"]


def test_a_file_that_is_not_json_is_a_config_error(tmp_path: Path):
    (tmp_path / "theirs.json").write_text("{'single': 'quotes'}")

    with pytest.raises(ConfigError, match=r"theirs\.json is not valid JSON"):
        load_constitution(tmp_path / "theirs.json")
