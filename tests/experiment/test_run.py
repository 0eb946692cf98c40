"""Whole experiments on the toy model, in this process."""

import json
from pathlib import Path

import pytest

from safefed.benchmarking import load_benchmarks
from safefed.config import ArmConfig, BenchmarkConfig, DataConfig, ExperimentConfig, ModelConfig, TrainConfig
from safefed.errors import ConfigError, DataError
from safefed.experiment import run, train


def config(model: Path, **changes: object) -> ExperimentConfig:
    settings: dict = {
        "name": "toy",
        "model": ModelConfig(name=str(model)),
        "data": DataConfig(rows=8),
        "train": TrainConfig(rounds=1, steps=1, batch_size=2),
        "benchmark": BenchmarkConfig(judges=["refusal"], max_new_tokens=4, limit=4),
        "arms": {"base": ArmConfig(train=False), "fedavg": ArmConfig(), "fedavg+oracle": ArmConfig(screening="oracle")},
    }
    return ExperimentConfig(**(settings | changes))


@pytest.fixture(scope="module")
def finished(toy_model, tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, run(config(toy_model), out, workers=0)


def test_a_run_leaves_what_the_documentation_says(finished):
    out, summary = finished

    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["arms"].keys() == {"base", "fedavg", "fedavg+oracle"}
    for name in ("config.json", "report.html", "fedavg/adapter/adapter_model.safetensors", "base/eval/mini.jsonl"):
        assert (out / name).exists()


def test_a_rerun_trains_nothing_again_and_comes_to_the_same_figures(finished, toy_model):
    out, summary = finished

    again = run(config(toy_model), out, workers=0, resume=True)

    assert summary["arms"] == {
        name: {**arm, **({"train": summary["arms"][name]["train"]} if "train" in arm else {})}
        for name, arm in again["arms"].items()
    }
    assert {row["stage"].split()[0]: row["cached"] for row in again["stages"]} == {
        "screen": False, "train": True, "benchmark": True,
    }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_stage_does_is_shown_while_it_runs(toy_model, tmp_path, seen, workers):
    arms = {"base": ArmConfig(train=False)}

    run(config(toy_model, arms=arms), tmp_path / "run", workers=workers, progress=seen)

    suites = [f"benchmark base, seed 0: {name}" for name in ("mini", "mini-benign")]
    assert seen.parts == {f"{suite}: {what}": n for suite in suites for what, n in (("answers", 4), ("judges", 1))}
    assert not seen.open


def test_the_oracle_drops_exactly_the_rows_labelled_unsafe(finished):
    _, summary = finished

    screening = summary["arms"]["fedavg+oracle"]["screening"]
    assert (screening["n_in"], screening["kept"], screening["dropped"]) == (32, 28, 4)
    assert summary["arms"]["fedavg"]["screening"]["kept"] == 32


def test_a_folder_that_holds_a_run_is_not_touched_without_resume(finished, toy_model):
    with pytest.raises(ConfigError, match="--resume"):
        run(config(toy_model), finished[0], workers=0)


def test_train_alone_gives_the_adapter_that_run_gives(finished, toy_model, tmp_path):
    alone = train(config(toy_model), tmp_path / "alone")

    manifest = json.loads((finished[0] / "fedavg/adapter/manifest.json").read_text())
    assert alone["adapter_hash"] == manifest["adapter"]


def test_the_base_arm_cannot_be_trained(toy_model, tmp_path):
    with pytest.raises(ConfigError, match="does not train"):
        train(config(toy_model), tmp_path / "run", arm="base")


def test_client_data_that_repeats_a_benchmark_case_is_refused_by_id(toy_model, tmp_path):
    from safefed.config import ClientConfig, SourceConfig
    from safefed.errors import DataError
    from safefed.eval.benchmarks import load_suite

    case = load_suite("mini")[1].cases[3]
    row = {"prompt": case.prompt.upper(), "completion": "an answer"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    client = ClientConfig(name="a", sources=[SourceConfig(path=str(tmp_path / "rows.jsonl"))])
    settings = config(toy_model, data=DataConfig(client=[client]), benchmark=BenchmarkConfig(judges=["refusal"]))

    with pytest.raises(DataError, match=f"client data repeats 1 benchmark case.*{case.id}"):
        run(settings, tmp_path / "run", workers=0)
    assert not (tmp_path / "run" / "stages").exists()


def test_prompts_that_only_one_arm_is_aligned_on_may_not_be_those_of_a_benchmark_either(toy_model, tmp_path):
    case = load_benchmarks(BenchmarkConfig())[0].cases[0]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": case.prompt}) + "\n")
    own = {"align": {"prompts": [{"path": str(prompts), "prompt": "prompt"}]}}
    arms = {"plain": ArmConfig(), "own": ArmConfig(align=True, settings=own)}

    with pytest.raises(DataError, match=r"align\.prompts repeats 1 benchmark case"):
        run(config(toy_model, arms=arms), tmp_path / "run", workers=0)
