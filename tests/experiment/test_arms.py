from pathlib import Path

import pytest

from safefed.config import (
    AlignConfig,
    ArmConfig,
    BenchmarkConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    GeneratorConfig,
    ModelConfig,
    ReviseConfig,
    ScreenConfig,
    SourceConfig,
    TrainConfig,
)
from safefed.errors import ConfigError
from safefed.experiment.arms import plan_arm
from safefed.experiment.inputs import read_inputs
from safefed.experiment.partition import write_clients

ROW = '{"prompt": "hello", "completion": "hi"}\n'


def stage_of(config: ExperimentConfig, out: Path) -> str:
    plan = plan_arm(
        config, "fedavg", ArmConfig(), 0, out, read_inputs(config, write_clients(config, out / "work"))
    ).plan
    return Path(plan.out).name if plan else ""


def test_a_changed_file_of_a_client_means_a_new_training_stage_wherever_the_file_is(tmp_path, toy_model):
    owned = tmp_path / "elsewhere" / "rows.jsonl"
    owned.parent.mkdir()
    owned.write_text(ROW)
    clients = [ClientConfig(name="north", sources=[SourceConfig(path=str(owned))])]
    config = ExperimentConfig(name="x", model=ModelConfig(name=str(toy_model)), data=DataConfig(client=clients))
    before, again = stage_of(config, tmp_path / "run"), stage_of(config, tmp_path / "run")
    owned.write_text(ROW * 2)

    assert before == again != stage_of(config, tmp_path / "run")


def test_a_refitted_filter_means_a_new_training_stage_for_what_it_screens_and_only_for_that(tmp_path, toy_model):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "linear.json").write_text("{}")
    screen = ScreenConfig(filter=f"linear:{mine}")
    config = ExperimentConfig(name="x", model=ModelConfig(name=str(toy_model)), screen=screen)
    files = write_clients(config, tmp_path / "work")

    def stages() -> list[str]:
        arms = [ArmConfig(screening=screening) for screening in ("drop", "revise", "none", "oracle")]
        return [plan_arm(config, "arm", arm, 0, tmp_path, read_inputs(config, files)).plan.out for arm in arms]

    before, again = stages(), stages()
    (mine / "linear.json").write_text('{"format": 3}')

    assert before == again
    assert [old == new for old, new in zip(before, stages(), strict=True)] == [False, False, True, True]


def test_a_changed_constitution_means_new_stages_for_what_it_revises_and_only_for_that(tmp_path, toy_model):
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nextends: default\n")
    config = ExperimentConfig(
        name="x", model=ModelConfig(name=str(toy_model)), revise=ReviseConfig(constitution=str(mine))
    )
    files = write_clients(config, tmp_path / "work")

    def stages() -> list[Path | None]:
        inputs = read_inputs(config, files)
        arms = [ArmConfig(screening=screening, align=True) for screening in ("revise", "drop")]
        plans = [plan_arm(config, "arm", arm, 0, tmp_path, inputs) for arm in arms]
        return [*(Path(each.plan.out) for each in plans if each.plan), *(each.align for each in plans)]

    before, again = stages(), stages()
    mine.write_text("name: mine\nextends: default\nrefusals: [No.]\n")

    assert before == again
    assert [old == new for old, new in zip(before, stages(), strict=True)] == [False, True, False, False]


def test_a_refitted_judge_means_a_new_benchmark_stage_and_nothing_else(tmp_path, toy_model):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "linear.json").write_text("{}")
    judged = BenchmarkConfig(judges=["refusal", f"filter:linear:{mine}"])
    config = ExperimentConfig(name="x", model=ModelConfig(name=str(toy_model)), benchmark=judged)
    files = write_clients(config, tmp_path / "work")

    def stages() -> tuple[str, str]:
        arm = plan_arm(config, "arm", ArmConfig(), 0, tmp_path, read_inputs(config, files))
        return arm.plan.out, arm.evaluation.name

    before, again = stages(), stages()
    (mine / "linear.json").write_text('{"format": 3}')
    trained, evaluated = stages()

    assert before == again
    assert (trained == before[0], evaluated == before[1]) == (True, False)


@pytest.mark.parametrize("every", [None, 1])
def test_a_changed_file_of_red_team_prompts_means_a_new_alignment(tmp_path, toy_model, every):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "one"}\n')
    align = AlignConfig(prompts=[SourceConfig(path=str(prompts), prompt="prompt")], every=every)
    config = ExperimentConfig(name="x", model=ModelConfig(name=str(toy_model)), align=align)
    inputs = read_inputs(config, write_clients(config, tmp_path / "work"))

    def stages() -> list[str]:
        plans = [plan_arm(config, "arm", ArmConfig(align=aligns), 0, tmp_path, inputs) for aligns in (True, False)]
        return [plan.evaluation.name for plan in plans]

    before, again = stages(), stages()
    prompts.write_text('{"prompt": "two"}\n')

    assert before == again
    assert [old == new for old, new in zip(before, stages(), strict=True)] == [False, True]


IMPOSSIBLE = {
    "no originals for preferences": (
        {"revise": ReviseConfig(keep_originals=False), "align": AlignConfig(dpo_steps=1)},
        "dpo_steps = 0",
    ),
    "a critic nobody configured": ({"align": AlignConfig(critic="endpoint")}, r"revise\.generator"),
    "rounds that never come": ({"align": AlignConfig(every=4), "train": TrainConfig(rounds=3)}, "no round"),
}


@pytest.mark.parametrize(("changes", "said"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_alignment_that_cannot_be_is_refused_before_anything_is_trained(tmp_path, toy_model, changes, said):
    config = ExperimentConfig(name="x", model=ModelConfig(name=str(toy_model)), **changes)
    inputs = read_inputs(config, [])

    plan_arm(config, "arm", ArmConfig(), 0, tmp_path, inputs)
    with pytest.raises(ConfigError, match=said):
        plan_arm(config, "arm", ArmConfig(align=True), 0, tmp_path, inputs)


def test_how_fast_an_endpoint_is_asked_decides_nothing(tmp_path, toy_model):
    url = {"kind": "endpoint", "url": "http://localhost:1/v1", "model": "m"}

    def stages(concurrency: int, every: int | None) -> str:
        revise = ReviseConfig(generator=GeneratorConfig(**url, concurrency=concurrency))
        config = ExperimentConfig(model=ModelConfig(name=str(toy_model)), revise=revise, align=AlignConfig(every=every))
        inputs = read_inputs(config, write_clients(config, tmp_path / "work"))
        arm = ArmConfig(screening="revise", align=True)
        return plan_arm(config, "arm", arm, 0, tmp_path, inputs).evaluation.name

    assert stages(1, None) == stages(64, None) != stages(1, 1) == stages(64, 1)
