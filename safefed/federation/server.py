"""The server's run: who is there, the rounds, their checkpoints and audit entries, the final adapter."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from safefed.adapter import Adapter, fresh_adapter, save_adapter, state_hash
from safefed.align import align_adapter
from safefed.errors import ConfigError, DataError, QuorumError
from safefed.federation.checkpoint import drop_unfinished, last_round, save_round
from safefed.federation.objectives import mean_losses, require_pairs
from safefed.federation.plan import JOB_KEY, Ask, Hello, Job, Plan, derived_seed, from_text
from safefed.federation.strategy import GuardedStrategy, chosen_names, to_arrays, to_state
from safefed.models import LoadedModel, load_model, torch_threads
from safefed.progress import Progress, Silent
from safefed.records import content_hash
from safefed.store import Log, read_manifest, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL_S = 0.2


def decay(plan: Plan, server_round: int) -> float:
    """Share of the learning rates that a round has: less over the rounds, constant inside one (counted from 1)."""
    done = (server_round - 1) / plan.train.rounds
    factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
    return factor[plan.train.schedule]


def _question(plan: Plan, loaded: LoadedModel) -> Ask:
    return Ask(fingerprint=loaded.fingerprint, screening=plan.screening, threshold=plan.screen.threshold)


def _job(plan: Plan, loaded: LoadedModel, name: str, server_round: int) -> Job:
    train, share = plan.train, decay(plan, server_round)
    return Job(
        **_question(plan, loaded).model_dump(),
        run=plan.run_key,
        round=server_round,
        seed=derived_seed(plan.name, plan.seed, name, server_round),
        steps=train.steps,
        batch_size=train.batch_size,
        gradient_accumulation=train.gradient_accumulation,
        gradient_checkpointing=train.gradient_checkpointing,
        learning_rate=train.learning_rate * share,
        dpo_learning_rate=train.dpo_learning_rate * share,
        beta=train.beta,
        max_length=train.max_length,
        lora=train.lora,
    )


def _wait_for_nodes(grid: Grid, plan: Plan) -> list[int]:
    deadline = time.monotonic() + plan.train.wait_s
    while len(node_ids := sorted(grid.get_node_ids())) < plan.clients:
        if time.monotonic() > deadline:
            raise QuorumError(
                f"{len(node_ids)} of {plan.clients} clients connected within {plan.train.wait_s:.0f} s; "
                "start the missing SuperNodes or lower data.clients, then rerun with --resume"
            )
        time.sleep(POLL_S)
    return node_ids


class Roster(dict[str, int]):
    """Client name -> node id, from each client's own answer; nodes that come later are asked when they are seen."""

    def __init__(self, grid: Grid, plan: Plan, ask: Ask) -> None:
        super().__init__()
        self.hellos: dict[str, Hello] = {}
        self._grid, self._plan, self._ask = grid, plan, ask

    def gather(self) -> None:
        """Wait for every client the plan counts on, and ask each of them.

        Raises:
            QuorumError: too few nodes connected in time.
            DataError: a client cannot take part or has nothing to train on, or two of them have one name.
        """
        self._greet(_wait_for_nodes(self._grid, self._plan))

    def refresh(self) -> None:
        """Ask nodes that came since; a client that was restarted is found again under its name."""
        unknown = [node_id for node_id in sorted(self._grid.get_node_ids()) if node_id not in self.values()]
        if unknown:
            self._greet(unknown)

    def _greet(self, node_ids: list[int]) -> None:
        content = RecordDict({"config": ConfigRecord({JOB_KEY: self._ask.model_dump_json()})})
        messages = [Message(content, dst_node_id=n, message_type="query", group_id="0") for n in node_ids]
        problems, answered = [], set()
        for reply in self._grid.send_and_receive(messages, timeout=self._plan.train.timeout_s):
            if reply.has_error():
                problems.append(f"node {reply.metadata.src_node_id}: {reply.error.reason}"[:160])
                continue
            text = reply.content.config_records["config"].get("hello")
            hello = from_text(Hello, text, f"the answer of node {reply.metadata.src_node_id}")
            if hello.name in answered:
                problems.append(f"two nodes are called {hello.name}")
            answered.add(hello.name)
            self[hello.name] = reply.metadata.src_node_id
            self.hellos[hello.name] = hello
        if problems or len(self) < self._plan.clients:
            raise DataError(
                f"{len(self)} of {self._plan.clients} clients are ready ({'; '.join(sorted(problems)) or 'silence'}); "
                "each client's errors.log in its work folder has the cause under that id"
            )
        require_pairs(self.hellos)


def _save_hellos(roster: Roster, out: Path) -> None:
    for name, hello in sorted(roster.hellos.items()):
        write_json(out / "clients" / f"{name}.json", hello.model_dump(mode="json"))


def _strategy(plan: Plan, loaded: LoadedModel, roster: Roster) -> GuardedStrategy:
    def prepare(message: Message, name: str, server_round: int) -> None:
        job = _job(plan, loaded, name, server_round)
        message.content.config_records["config"][JOB_KEY] = job.model_dump_json()

    inner = FedAvg(min_train_nodes=1, min_available_nodes=1)
    return GuardedStrategy(
        inner,
        roster=roster,
        choose=lambda r: chosen_names(roster, plan.train.clients_per_round, plan.seed, r),
        prepare=prepare,
        min_clients=plan.train.min_clients,
        max_examples=plan.train.max_examples,
    )


class Audit:
    """An append-only log in which each entry carries the hash of the one before."""

    def __init__(self, path: Path) -> None:
        self._log = Log(path)
        rows = self._log.rows
        self.head: str = rows[-1]["hash"] if rows else "0" * 64

    def append(self, kind: str, **facts: Any) -> None:
        """Add one entry and return once it is on disk."""
        entry = {"kind": kind, "previous": self.head, **facts}
        self.head = content_hash(entry)
        self._log.append({**entry, "hash": self.head})


def _one_round(
    grid: Grid, plan: Plan, strategy: GuardedStrategy, adapter: Adapter, server_round: int, audit: Audit
) -> Adapter:
    messages = strategy.configure_train(server_round, to_arrays(adapter.state), ConfigRecord(), grid)
    replies = list(grid.send_and_receive(messages, timeout=plan.train.timeout_s))
    try:
        arrays, _ = strategy.aggregate_train(server_round, replies)
    finally:
        audit.append("round", round=server_round, updates=[v.to_json() for v in strategy.verdicts])
    return Adapter(adapter.lora, to_state(arrays))  # type: ignore[arg-type]


def run_plan(grid: Grid, plan: Plan, progress: Progress | None = None) -> None:
    """Run (or go on with) a plan and write ``plan.out``: clients/, rounds/, audit.jsonl, adapter/.

    Raises:
        ConfigError, DataError, IntegrityError, QuorumError: see their messages; finished rounds stay usable.
    """
    out = Path(plan.out)
    loaded = load_model(plan.model)
    with torch_threads(plan.threads):
        drop_unfinished(out)
        found = last_round(loaded, plan)
        done, adapter = found or (0, fresh_adapter(loaded, plan.train.lora, derived_seed(plan.name, plan.seed)))
        audit = Audit(out / "audit.jsonl")
        audit.append("start", run=plan.run_key, after_round=done)
        roster = Roster(grid, plan, _question(plan, loaded))
        roster.gather()
        _save_hellos(roster, out)
        _rounds(grid, plan, loaded, roster, adapter, done, audit, progress or Silent())


def _rounds(
    grid: Grid,
    plan: Plan,
    loaded: LoadedModel,
    roster: Roster,
    adapter: Adapter,
    done: int,
    audit: Audit,
    progress: Progress,
) -> None:
    out, strategy = Path(plan.out), _strategy(plan, loaded, roster)
    with progress.task("rounds", plan.train.rounds) as advance:
        advance(done)
        for server_round in range(done + 1, plan.train.rounds + 1):
            roster.refresh()
            adapter = _one_round(grid, plan, strategy, adapter, server_round, audit)
            metrics = {name: content.metric_records["metrics"] for name, content in strategy.accepted.items()}
            losses = mean_losses(metrics, roster.hellos)
            adapter = _aligned(plan, loaded, adapter, server_round, audit, progress)
            size = sum(array.nbytes for array in adapter.state.values())
            replies = sum(verdict.reason != "missing" for verdict in strategy.verdicts)
            traffic = {"bytes_down": size * strategy.n_asked, "bytes_up": size * replies}
            save_round(adapter, loaded, plan, server_round, audit.head, losses | traffic)
            advance(1)
    save_adapter(adapter, loaded, out / "adapter", run=plan.run_key, rounds=plan.train.rounds, arm=plan.arm)


def _aligned(
    plan: Plan, loaded: LoadedModel, adapter: Adapter, server_round: int, audit: Audit, progress: Progress
) -> Adapter:
    """The round's global model after constitutional alignment, if it is due; each time on other prompts."""
    if plan.align is None or not plan.aligns_after(server_round):
        return adapter
    out, seed = Path(plan.out) / "align" / f"round_{server_round:04d}", derived_seed("align", plan.seed, server_round)
    adapter = align_adapter(loaded, adapter, plan.align, out, seed=seed, training_seed=seed, progress=progress)
    audit.append("align", round=server_round, adapter=state_hash(adapter.state))
    return adapter


def plan_of(run_config: Mapping[str, Any]) -> Plan:
    """The plan that ``flwr run --run-config`` was given. Raises ConfigError."""
    from safefed.federation.plan import PLAN_KEY

    return from_text(Plan, run_config.get(PLAN_KEY), f"run-config {PLAN_KEY!r}")


def is_finished(plan: Plan) -> bool:
    """Whether ``plan.out`` holds the final adapter of this very plan. Raises ConfigError if it is another plan's."""
    manifest = read_manifest(Path(plan.out) / "adapter")
    if manifest is None:
        return False
    if manifest.get("run") != plan.run_key:
        raise ConfigError(f"{plan.out} was written with another configuration; give another --out")
    return True
