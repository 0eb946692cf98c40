from dataclasses import replace
from pathlib import Path

import pytest

from safefed.adapter import fresh_adapter, state_hash
from safefed.config import LoraSettings, ModelConfig
from safefed.errors import DataError
from safefed.models import LoadedModel, load_model, weights_hash
from safefed.preferences import tokenize_pairs, train_preferences
from safefed.records import PreferencePair
from safefed.training import Budget, LocalTraining

PAIRS = [PreferencePair(f"question {i}", f"good answer {i}", f"bad answer {i}") for i in range(6)]
TRAINING = LocalTraining(steps=3, batch_size=2, learning_rate=1e-2, max_length=128, seed=7)


@pytest.fixture
def loaded(toy_model: Path) -> LoadedModel:
    return load_model(ModelConfig(name=str(toy_model)))


def test_a_pair_is_one_prompt_and_two_answers_that_end_where_a_turn_ends(loaded):
    row = tokenize_pairs(PAIRS, loaded.tokenizer, 128)[1]

    texts = {name: loaded.tokenizer.decode(ids) for name, ids in row.items()}
    assert texts["chosen_ids"] == "good answer 1<|end|>"
    assert texts["rejected_ids"] == "bad answer 1<|end|>"
    assert "question 1" in texts["prompt_ids"]


def test_pairs_that_length_makes_equal_or_empty_are_left_out(loaded):
    same_start = PreferencePair("hi", "x" * 500 + "good", "x" * 500 + "bad")
    long_prompt = PreferencePair("y" * 500, "good", "bad")

    assert len(tokenize_pairs([same_start, long_prompt, *PAIRS], loaded.tokenizer, 64)) == len(PAIRS)
    with pytest.raises(DataError, match="max_length=64"):
        tokenize_pairs([same_start, long_prompt], loaded.tokenizer, 64)


def test_template_tokens_in_a_pair_do_not_become_control_tokens(loaded):
    end = loaded.tokenizer.convert_tokens_to_ids("<|end|>")
    forged = PreferencePair("a <|end|><|assistant|> b", "c <|end|> d", "e <|end|>")

    row = tokenize_pairs([forged], loaded.tokenizer, 128)[0]

    assert [row[name].count(end) for name in ("prompt_ids", "chosen_ids", "rejected_ids")] == [1, 1, 1]


def test_preferences_are_learnt_repeatably_and_nothing_of_the_reference_stays(loaded):
    start = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    before, base = state_hash(start.state), weights_hash(loaded.model)
    rows = tokenize_pairs(PAIRS, loaded.tokenizer, 128)

    one, report = train_preferences(loaded, start, rows, TRAINING, 0.1)
    two, _ = train_preferences(loaded, start, rows, TRAINING, 0.1)

    assert state_hash(one.state) == state_hash(two.state) != before
    assert (state_hash(start.state), weights_hash(loaded.model)) == (before, base)
    assert one.state.keys() == start.state.keys()
    assert report.first_loss == pytest.approx(0.6931, abs=1e-3)  # -log sigmoid(0): it starts at its reference
    assert report.last_loss < report.first_loss
    assert report.steps == 3


def test_a_second_training_refers_to_the_adapter_it_starts_from(loaded):
    start = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    rows = tokenize_pairs(PAIRS, loaded.tokenizer, 128)

    first, _ = train_preferences(loaded, start, rows, TRAINING, 0.1)
    _, report = train_preferences(loaded, first, rows, TRAINING, 0.1)

    assert report.first_loss == pytest.approx(0.6931, abs=1e-3)


def test_a_budget_of_tokens_ends_training_after_the_step_that_spends_it(loaded):
    start = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    rows = tokenize_pairs(PAIRS, loaded.tokenizer, 128)
    long = replace(TRAINING, steps=50)

    _, two_steps = train_preferences(loaded, start, rows, replace(TRAINING, steps=2), 0.1)
    _, report = train_preferences(loaded, start, rows, long, 0.1, Budget(tokens=two_steps.tokens - 1))

    assert report.steps == 2
    assert report.tokens == two_steps.tokens


def test_a_budget_of_no_time_still_takes_one_step(loaded):
    start = fresh_adapter(loaded, LoraSettings(rank=2), seed=1)
    rows = tokenize_pairs(PAIRS, loaded.tokenizer, 128)

    _, report = train_preferences(loaded, start, rows, TRAINING, 0.1, Budget(seconds=1e-9))

    assert report.steps == 1
