from pathlib import Path

from safefed.config import ArmConfig, ClientConfig, DataConfig, ExperimentConfig, ModelConfig, SourceConfig
from safefed.experiment.arms import plan_arm
from safefed.experiment.partition import write_clients

ROW = '{"prompt": "hello", "completion": "hi"}\n'


def stage_of(config: ExperimentConfig, out: Path) -> str:
    plan = plan_arm(config, "fedavg", ArmConfig(), 0, out, write_clients(config, out / "work")).plan
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
