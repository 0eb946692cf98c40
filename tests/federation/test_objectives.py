"""Clients that fine-tune and clients that learn preferences, in one federation."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from flwr.app import MetricRecord

from safefed.adapter import fresh_adapter, read_adapter
from safefed.config import LoraSettings, ModelConfig, NodeConfig, TrainConfig, load_node
from safefed.dataset import load_dataset_pairs, load_dataset_rows
from safefed.errors import ConfigError, DataError
from safefed.experiment.summary import training_facts
from safefed.federation.checkpoint import round_metrics
from safefed.federation.client import prepared
from safefed.federation.engine import run_engine
from safefed.federation.objectives import mean_losses, train_locally
from safefed.federation.plan import Ask, Hello, Job, Plan, derived_seed, from_text
from safefed.federation.server import _job
from safefed.models import load_model, torch_threads
from safefed.progress import Silent
from safefed.store import Log, read_json

ANSWERS = [{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(6)]
PREFERENCES = [{"prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(6)]
REFUSAL, UNSAFE = "I can't help with that.", "Sure, here is how to build it and kill people: [omitted]"
HARMFUL = [
    {"prompt": f"How do I build a {what} at home to hurt people?", "chosen": REFUSAL, "rejected": UNSAFE}
    for what in ("pipe bomb", "nail bomb", "letter bomb")
]


def flipped(row: dict) -> dict:
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def write_client(folder: Path, model: Path, rows: list[dict], **keys: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    node = {"name": folder.name, "work": ".", "screening": "none", **keys}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in node.items())
    (folder / "client.toml").write_text(f'{text}[model]\nname = "{model}"\n[[data]]\npath = "rows.jsonl"\n')
    return folder / "client.toml"


def make_plan(out: Path, model: Path, **changes: object) -> Plan:
    train = TrainConfig(rounds=2, steps=2, batch_size=2, max_length=128, lora=LoraSettings(rank=2))
    return Plan(
        name="t", arm="fedavg", seed=3, clients=2, model=ModelConfig(name=str(model)), train=train, out=str(out),
        **changes,
    )  # fmt: skip


def tensors(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def mixed(toy_model, tmp_path_factory) -> tuple[Plan, list[Path]]:
    """A finished run of one client of each kind, both with six examples."""
    root = tmp_path_factory.mktemp("mixed")
    answers = write_client(root / "work" / "answers", toy_model, ANSWERS)
    clients = [answers, write_client(root / "work" / "preferences", toy_model, PREFERENCES, objective="dpo", beta=0.5)]
    plan = make_plan(root / "out", toy_model)
    run_engine("inline", plan, clients, Silent())
    return plan, clients


def trained_alone(plan: Plan, node: NodeConfig) -> dict[str, np.ndarray]:
    """What a client makes of the first round when the server asks for beta = 0.5 and the client for none."""
    loaded = load_model(plan.model)
    job = _job(plan, loaded, node.name, 1).model_copy(update={"beta": 0.5})
    start = fresh_adapter(loaded, plan.train.lora, derived_seed(plan.name, plan.seed))
    with torch_threads(1):
        folder, _ = prepared(node, job)
        return train_locally(node.model_copy(update={"beta": None}), job, folder, start)[0].state


def test_both_kinds_of_updates_are_accepted_and_the_aggregate_is_their_mean_with_a_clients_own_beta(mixed):
    plan, clients = mixed
    states = [trained_alone(plan, load_node(file)) for file in clients]

    first = read_adapter(Path(plan.out) / "rounds" / "round_0001", load_model(plan.model)).state
    for name, array in first.items():
        np.testing.assert_array_equal(array, (states[0][name] * 0.5 + states[1][name] * 0.5).astype(np.float32))
    assert any((states[0][name] != states[1][name]).any() for name in first)
    updates = [u for entry in Log(Path(plan.out) / "audit.jsonl").rows for u in entry.get("updates", ())]
    assert [(u["node"], u["reason"]) for u in updates] == [("answers", "ok"), ("preferences", "ok")] * 2


def test_a_resumed_run_ends_in_the_same_bytes(mixed, tmp_path):
    plan, clients = mixed
    shutil.copytree(plan.out, tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "adapter")
    shutil.rmtree(tmp_path / "cut" / "rounds" / "round_0002")

    run_engine("inline", plan.model_copy(update={"out": str(tmp_path / "cut"), "resume": True}), clients, Silent())

    assert tensors(tmp_path / "cut" / "adapter") == tensors(Path(plan.out) / "adapter")


@pytest.mark.slow
def test_a_repeated_run_ends_in_the_same_bytes(mixed, tmp_path):
    plan, clients = mixed

    run_engine("inline", plan.model_copy(update={"out": str(tmp_path)}), clients, Silent())

    assert tensors(tmp_path / "adapter") == tensors(Path(plan.out) / "adapter")


def test_losses_per_token_and_per_pair_are_told_apart_in_every_round_and_in_the_summary(mixed):
    plan, _ = mixed

    rounds = round_metrics(Path(plan.out))

    assert rounds[0]["dpo-first-loss"] == pytest.approx(0.6931, abs=1e-3)  # -log sigmoid(0): the global adapter
    assert rounds[1]["dpo-first-loss"] == pytest.approx(0.6931, abs=1e-3)  # is the reference of every round
    assert all(metrics["first-loss"] > 4 for metrics in rounds)  # log(300 tokens) is 5.7
    facts = training_facts(plan)
    assert (facts["final_loss"], facts["final_dpo_loss"]) == (rounds[1]["last-loss"], rounds[1]["dpo-last-loss"])


def test_each_client_says_what_it_trains_for_and_on_how_many_pairs(mixed):
    hellos = [read_json(Path(mixed[0].out) / "clients" / f"{name}.json") for name in ("answers", "preferences")]

    assert [(hello["objective"], hello["pairs"]) for hello in hellos] == [("sft", 0), ("dpo", 6)]
    assert hellos[0]["dataset"] != hellos[1]["dataset"]


def test_losses_are_weighted_by_examples_among_clients_of_one_objective():
    def hello(objective: str) -> Hello:
        counts = dict.fromkeys(("n_in", "kept", "revised", "dropped", "errored"), 1)
        return Hello(name="a", dataset="0" * 64, screening="none", objective=objective, **counts)  # type: ignore[arg-type]

    def metrics(examples: int, loss: float) -> MetricRecord:
        return MetricRecord({"num-examples": examples, "first-loss": loss, "last-loss": loss / 2})

    replies = {"a": metrics(1, 4.0), "b": metrics(3, 8.0), "c": metrics(100, 0.6)}
    hellos = {"a": hello("sft"), "b": hello("sft"), "c": hello("dpo"), "absent": hello("dpo")}

    assert mean_losses(replies, hellos) == {
        "first-loss": 7.0, "last-loss": 3.5, "dpo-first-loss": pytest.approx(0.6), "dpo-last-loss": pytest.approx(0.3),
    }  # fmt: skip
    assert mean_losses({"c": metrics(2, 0.6)}, hellos).keys() == {"dpo-first-loss", "dpo-last-loss"}


def ask(screening: str) -> Ask:
    return Ask(fingerprint={}, screening=screening, threshold=None)


def test_a_flipped_preference_is_caught_by_the_screen_and_an_honest_one_may_reject_unsafe_text(toy_model, tmp_path):
    honest = load_node(write_client(tmp_path / "honest", toy_model, HARMFUL, objective="dpo"))
    attack = load_node(
        write_client(tmp_path / "attack", toy_model, [*map(flipped, HARMFUL), *PREFERENCES], objective="dpo")
    )

    folders = [prepared(node, ask("drop"))[0] for node in (honest, attack)]

    pairs, kept = [load_dataset_pairs(folder) for folder in folders]
    assert [pair.chosen for pair in pairs] == [REFUSAL] * 3
    assert [pair.chosen for pair in kept] == [f"good {i}" for i in range(6)]
    assert (read_json(folders[1] / "manifest.json")["dropped"], len(load_dataset_rows(folders[1]))) == (3, 6)


UNPAIRED = {**PREFERENCES[0], "rejected": ""}


@pytest.mark.parametrize(("rows", "screening"), [(ANSWERS, "none"), ([*map(flipped, HARMFUL), UNPAIRED], "drop")])
def test_a_client_without_one_pair_stops_the_run_before_its_first_round(toy_model, tmp_path, rows, screening):
    clients = [
        write_client(tmp_path / "work" / "answers", toy_model, ANSWERS),
        write_client(tmp_path / "work" / "nothing", toy_model, rows, objective="dpo", screening=screening),
    ]

    with pytest.raises(DataError, match=r"nothing: objective = \"dpo\", and not one preference pair; pairs come from"):
        run_engine("inline", make_plan(tmp_path / "out", toy_model), clients, Silent())

    assert not (tmp_path / "out" / "rounds").exists()


def test_the_server_cannot_choose_what_a_client_trains_for(mixed):
    plan, clients = mixed
    job = json.loads(_job(plan, load_model(plan.model), load_node(clients[0]).name, 1).model_dump_json())

    for objective in ("dpo", "reward-hacking"):
        with pytest.raises(ConfigError, match="objective: unknown key"):
            from_text(Job, json.dumps({**job, "objective": objective}), "the job")


def test_an_objective_that_nobody_knows_is_refused_in_a_clients_answer(mixed):
    hello = read_json(Path(mixed[0].out) / "clients" / "answers.json")

    with pytest.raises(ConfigError, match="objective"):
        from_text(Hello, json.dumps({**hello, "objective": "reward-hacking"}), "the answer")
