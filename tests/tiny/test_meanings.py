import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from safefed.records import Sample
from safefed.tiny.batches import NOWHERE, Row, tensors
from safefed.tiny.begin import prepare
from safefed.tiny.meanings import kept, remembering, request_meanings, requests_of
from safefed.tiny.network import Recipe, answer_loss, hidden_states, meaning_loss, new_model, teacher_of
from safefed.tiny.tokens import PAD, encode, token_id
from safefed.tiny.train import Run

TOY = Recipe(vocabulary=400, hidden=16, layers=3, heads=2, inner=32, tokens=512, scale=0.003, warmup=1, save_every=2)
ROWS = [Sample.of("Name a red fruit.", "An apple."), Sample.of("Someone said this to a model.")]


def words_in_space(texts):
    """Unit vectors of the words in a text: a sentence encoder of sorts."""
    vectors = np.zeros((len(texts), 64), dtype="float32")
    for vector, text in zip(vectors, texts, strict=True):
        for word in text.casefold().split() or [""]:
            vector[zlib.crc32(word.encode()) % 64] += 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("run"), None, TOY, words_in_space)


@pytest.fixture
def losses(begun):
    """Of given rows by a fresh model: the answers' and the meanings'."""
    model, teacher = new_model(TOY, begun.tokenizer), teacher_of(TOY, begun.taught.meanings)

    def measure(*rows):
        batch = tensors(rows, range(len(rows)), token_id(begun.tokenizer, PAD))
        last, middle = hidden_states(model, batch)
        return answer_loss(model, last, batch).item(), meaning_loss(teacher, middle, batch).item()

    return measure


class Asked:
    """Counts what the encoder is asked."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return words_in_space(texts)


def test_no_text_is_encoded_twice():
    asked = Asked()
    encode_once = remembering(asked)
    vectors = np.concatenate([encode_once(["a b", "c", "a b"]), encode_once(["c", "d"])])

    assert asked.texts == ["a b", "c", "d"]
    assert (vectors == words_in_space(["a b", "c", "a b", "c", "d"])).all()


def test_embeddings_start_at_the_vectors_of_an_encoder_where_it_knows_the_token(begun):
    start, noise = (
        new_model(TOY, begun.tokenizer, vectors).get_input_embeddings().weight
        for vectors in (begun.taught.vectors, None)
    )
    known = begun.taught.vectors.norm(dim=-1) > 0

    assert 0 < known.sum() < len(known)
    assert (start[~known] == noise[~known]).all()
    assert not (start[known] == noise[known]).any()


def test_requests_and_bare_texts_have_a_meaning_and_transcripts_have_none():
    transcript = Sample((*ROWS[0].messages, *Sample.of("Criticise that.", "It is short.").messages))
    requests = requests_of([*ROWS, transcript, ROWS[0]])

    assert requests == sorted(row.prompt for row in ROWS)
    assert np.allclose(
        request_meanings(requests, words_in_space), words_in_space([r.strip(".") for r in requests]), atol=1e-3
    )


def test_what_was_made_once_is_taken_from_its_file(tmp_path):
    made = [np.ones((2, 3)), np.zeros((2, 3))]
    first, second = (kept(tmp_path / "vectors.npy", made.pop) for _ in range(2))

    assert (first == second).all()
    assert len(made) == 1


def test_a_run_killed_before_its_first_checkpoint_begins_with_the_same_embeddings(tmp_path):
    first = prepare(tmp_path, None, TOY, words_in_space)
    asked = Asked()
    second = prepare(tmp_path, None, TOY, asked)

    assert (first.taught.vectors == second.taught.vectors).all()
    assert (first.taught.meanings == second.taught.meanings).all()
    assert asked.texts == []


def test_training_brings_the_model_nearer_to_the_meanings(tmp_path):
    Run(prepare(tmp_path, None, replace(TOY, save_every=30), words_in_space)).train(30)
    curve = [json.loads(line)["meaning"] for line in (tmp_path / "curve.jsonl").read_text().splitlines()]

    assert np.mean(curve[-5:]) < 0.7 * curve[0]


def test_a_killed_run_with_meanings_ends_in_the_same_bytes(tmp_path):
    Run(prepare(tmp_path / "whole", None, TOY, words_in_space)).train(4)
    Run(prepare(tmp_path / "parts", None, TOY, words_in_space)).train(4, until=2)
    Run(prepare(tmp_path / "parts", None, TOY, words_in_space)).train(4)

    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_text_without_an_answer_teaches_its_meaning_and_no_token(begun, losses):
    ids, mask = encode(begun.tokenizer, ROWS[1])
    row = Row(ids, mask, meaning=0)
    said, meant = losses(row)

    assert sum(mask) == 0
    assert row.asked == len(ids) - 1
    assert said == 0
    assert 0 < meant < 2


def test_the_meaning_is_known_before_the_first_token_of_the_answer(begun, losses):
    """What the answer says must not reach it: other answers, same distance."""
    answers = ("An apple.", "A cherry, or else a strawberry.")
    rows = [Row(*encode(begun.tokenizer, Sample.of("Name a red fruit.", answer)), meaning=0) for answer in answers]
    distances = {round(losses(row)[1], 5) for row in rows}

    assert len(distances) == 1


def test_rows_without_a_meaning_are_left_out_of_the_distance(begun, losses):
    first, second = (Row(*encode(begun.tokenizer, ROWS[0]), meaning) for meaning in (0, NOWHERE))

    assert losses(first, second)[1] == pytest.approx(losses(first)[1])
    assert losses(second)[1] == 0
