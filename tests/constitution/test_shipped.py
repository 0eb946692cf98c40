"""What holds for every constitution that ships."""

from importlib.resources import files

import pytest
from tokenizers import Tokenizer

from safefed.constitution import SHIPPED, critique_conversation, load_constitution, revision_conversation
from safefed.records import HAZARDS, Sample

pytestmark = pytest.mark.parametrize("name", SHIPPED)
WORDS = "word " * 2000


def test_it_has_its_name_a_version_and_refusals(name: str):
    constitution = load_constitution(name)

    assert constitution.name == name
    assert constitution.version
    assert len(set(constitution.refusals)) >= 4


def test_every_hazard_is_answered_by_two_principles_so_that_a_second_attempt_asks_anew(name: str):
    principles = load_constitution(name).principles

    assert all(sum(hazard in p.hazards for p in principles) >= 2 for hazard in HAZARDS)


def test_its_requests_are_short(name: str):
    texts = [t for p in load_constitution(name).principles for t in (p.critique_request, p.revision_request)]

    assert max(len(text.split()) for text in texts) <= 40


def test_its_longest_question_leaves_room_for_an_answer_in_the_embedded_models_512_tokens(name: str):
    tokenizer = Tokenizer.from_file(str(files("safefed.tiny") / "model" / "tokenizer.json"))
    sample = Sample.of(WORDS, WORDS)

    asked = [c for p in load_constitution(name).principles
             for c in (critique_conversation(sample, p), revision_conversation(sample, p, WORDS))]  # fmt: skip

    assert max(len(tokenizer.encode(turn.content).ids) for (turn,) in asked) <= 512 - 96
