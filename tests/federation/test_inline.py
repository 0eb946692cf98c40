"""Whole runs through the inline engine: equal to the bit, resumable, and silent about what clients own."""

import multiprocessing
import time
from pathlib import Path

import pytest

from safefed.align import AlignSettings
from safefed.config import AlignConfig, ReviseConfig
from safefed.errors import ConfigError, DataError, QuorumError
from safefed.federation.engine import run_engine
from safefed.federation.plan import Plan
from safefed.progress import Silent
from safefed.store import Log, read_json

CANARY = "canary-4711-must-not-travel"


def final_hash(plan: Plan) -> str:
    return read_json(Path(plan.out) / "adapter" / "manifest.json")["adapter"]


def run(plan: Plan, clients: list[Path]) -> str:
    run_engine("inline", plan, clients, Silent())
    return final_hash(plan)


def test_a_killed_run_resumes_to_the_same_adapter(clients, make_plan):
    whole, plan = run(make_plan("whole"), clients), make_plan("killed")
    process = multiprocessing.get_context("fork").Process(target=run, args=(plan, clients))
    process.start()
    second = Path(plan.out) / "rounds" / "round_0002" / "manifest.json"
    while not second.exists() and process.is_alive():
        time.sleep(0.005)
    process.kill()
    process.join()

    assert second.exists()
    assert not (Path(plan.out) / "adapter" / "manifest.json").exists()
    assert run(plan.model_copy(update={"resume": True}), clients) == whole


def test_a_folder_with_rounds_is_not_overwritten_and_another_plan_cannot_resume_it(clients, make_plan):
    run(make_plan(train={"rounds": 1}), clients)

    (Path(make_plan().out) / "adapter" / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="--resume"):
        run(make_plan(train={"rounds": 1}), clients)
    with pytest.raises(ConfigError, match="another configuration"):
        run(make_plan(resume=True), clients)


def test_a_broken_client_costs_its_place_and_its_data_stays_with_it(clients, make_plan, caplog):
    broken = clients[1].parent
    text = clients[1].read_text() + "\n"
    clients[1].write_text(text.replace('work = "."', 'work = "."\nmax_steps = 1'))

    plan = make_plan("broken", train={"rounds": 1, "clients_per_round": 4, "steps": 2})
    run(plan, clients)

    updates = Log(Path(plan.out) / "audit.jsonl").rows[-1]["updates"]
    assert [(u["node"], u["accepted"]) for u in updates] == [
        ("client-0", True), ("client-1", False), ("client-2", True), ("client-3", True),
    ]  # fmt: skip
    assert updates[1]["reason"].startswith("error:mismatch:steps:")
    assert (broken / "errors.log").exists()
    assert CANARY not in caplog.text
    for file in Path(plan.out).rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes()


def test_an_exception_crosses_as_a_code_and_an_id_without_its_text(clients, make_plan):
    (clients[2].parent / "rows.jsonl").write_text(f'{{"{CANARY}": 1}}\n')

    with pytest.raises(DataError, match=r"3 of 4 clients are ready \(node \d+: DataError:[0-9a-f]{12}\)") as caught:
        run(make_plan(), clients)

    assert CANARY not in str(caught.value)
    assert "\nsafefed.errors.DataError: " in (clients[2].parent / "errors.log").read_text()


def test_a_client_with_another_base_model_refuses_and_names_what_differs(clients, make_plan, tmp_path, make_toy_model):
    other = make_toy_model(tmp_path / "other", seed=1)
    text = clients[0].read_text()
    start = text.index('name = "/')
    clients[0].write_text(text[:start] + f'name = "{other}"\n' + text[text.index("[[data]]") :])

    with pytest.raises(DataError, match="mismatch:base"):
        run(make_plan(), clients)


def test_two_clients_of_one_name_are_refused(clients, make_plan):
    clients[3].write_text(clients[3].read_text().replace("client-3", "client-0"))

    with pytest.raises(DataError, match="two nodes are called client-0"):
        run(make_plan(), clients)


def test_too_few_clients_end_the_run_at_the_deadline(clients, make_plan):
    with pytest.raises(QuorumError, match="3 of 4 clients connected"):
        run(make_plan(train={"wait_s": 0.3}), clients[:3])


def test_flower_local_says_at_once_that_a_space_in_a_path_stops_it(clients, make_plan):
    with pytest.raises(ConfigError, match="a space in"):
        run_engine("flower:local", make_plan("a b"), clients, Silent())


def test_the_global_model_is_aligned_after_every_second_round_and_a_resumed_run_ends_the_same(clients, make_plan):
    settings = AlignSettings(
        align=AlignConfig(
            every=2, n_prompts=2, n_helpful=2, n_contrasts=0, distil_steps=0, sft_steps=1, dpo_steps=1, batch_size=2
        ),
        revise=ReviseConfig(max_new_tokens=6),
        max_length=128,
    )
    whole, plan = make_plan("whole", align=settings), make_plan("cut", align=settings, resume=True)
    expected = run(whole, clients)

    run(plan, clients)
    for folder in ("adapter", "rounds/round_0003", "rounds/round_0002"):
        (Path(plan.out) / folder / "manifest.json").unlink()
    again = run(plan, clients)

    assert expected == again
    assert [path.name for path in sorted((Path(plan.out) / "align").iterdir())] == ["round_0002"]
    aligned = [row for row in Log(Path(whole.out) / "audit.jsonl").rows if row["kind"] == "align"]
    assert [row["round"] for row in aligned] == [2]
    assert aligned[0]["adapter"] == read_json(Path(whole.out) / "rounds/round_0002/manifest.json")["adapter"]
