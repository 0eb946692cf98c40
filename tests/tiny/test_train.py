import json
from dataclasses import replace

import pytest

from safefed.errors import ConfigError, DataError
from safefed.tiny import batches, corpus
from safefed.tiny.begin import prepare
from safefed.tiny.network import Recipe, learning_rate
from safefed.tiny.train import Run, run

TOY = Recipe(vocabulary=400, hidden=16, layers=1, heads=2, inner=32, tokens=512, scale=0.003, warmup=1)


@pytest.mark.parametrize("layout", ["llama", "gpt_neox"])
def test_two_steps_write_a_model_that_plain_transformers_load(tmp_path, layout):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run(tmp_path, None, replace(TOY, layout=layout), steps=2)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")

    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert json.loads((tmp_path / "corpus.json").read_text())["tokens"] > 0
    assert json.loads((tmp_path / "curve.jsonl").read_text().splitlines()[0])["step"] == 1


class Killed(Run):
    """Dies right after its second step was saved."""

    def save(self):
        super().save()
        if self.step == 2:
            raise KeyboardInterrupt


def test_a_killed_and_repeated_run_ends_in_the_same_bytes(tmp_path):
    recipe = replace(TOY, save_every=2)
    run(tmp_path / "whole", None, recipe, steps=4)
    with pytest.raises(KeyboardInterrupt):
        Killed(prepare(tmp_path / "parts", None, recipe)).train(4)
    run(tmp_path / "parts", None, recipe, steps=4)

    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_folder_of_another_recipe_is_refused(tmp_path):
    prepare(tmp_path, None, TOY)

    with pytest.raises(ConfigError, match="another recipe"):
        prepare(tmp_path, None, replace(TOY, hidden=32))


def test_a_missing_data_set_is_named(tmp_path):
    with pytest.raises(DataError, match=r"roleplay_instruct\.json is missing"):
        corpus.build(tmp_path, scale=0.001)


def test_the_corpus_is_the_same_each_time_and_holds_every_written_part():
    rows, counts = corpus.build(None, scale=0.003)

    assert (rows, counts) == corpus.build(None, scale=0.003)
    parts = {"benign", "lookalike", "refusal", "mixed", "critique", "revision", "critique-clean", "revision-clean"}
    assert {f"safefed-tiny/{part}" for part in parts} <= set(counts)


def test_every_row_is_in_exactly_one_batch_of_an_epoch_and_batches_keep_their_budget():
    rows = [batches.Row([1] * n, [0] * n) for n in (5, 9, 30, 7, 64, 12, 200)]
    epoch = batches.epoch(rows, 64, seed=0, number=0)

    assert sorted(index for batch in epoch for index in batch) == list(range(7))
    assert all(len(b) == 1 or len(b) * max(len(rows[i].ids) for i in b) <= 64 for b in epoch)


def test_processes_share_every_step_without_a_batch_in_common():
    rows = [batches.Row([1] * n, [0] * n) for n in range(1, 40)]
    alone = batches.stream(rows, 64, 0, skip=0)
    first, second = (batches.stream(rows, 64, 0, skip=1, rank=rank, of=2) for rank in (0, 1))
    expected = [next(alone) for _ in range(6)]

    assert [next(first), next(second), next(first), next(second)] == expected[2:]


@pytest.mark.slow
def test_two_processes_train_and_write_a_model(tmp_path):
    run(tmp_path, None, TOY, steps=2, processes=2)

    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_the_learning_rate_warms_up_stays_and_ends_at_two_percent():
    recipe = Recipe(learning_rate=1.0, warmup=10)

    assert learning_rate(recipe, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(recipe, 50, 0.5) == pytest.approx(1.0)
    assert learning_rate(recipe, 100, 1.0) == pytest.approx(0.02)
