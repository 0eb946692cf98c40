"""``summary.json``: what every arm came to, in the schema of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed import __version__
from safefed.align.stage import COST, PARTS
from safefed.benchmarking import merge_seeds
from safefed.config import ExperimentConfig
from safefed.eval.report import write_report
from safefed.federation.checkpoint import round_metrics
from safefed.store import MANIFEST, read_json, write_json

if TYPE_CHECKING:
    from safefed.experiment.arms import ArmPlan
    from safefed.experiment.schedule import Done
    from safefed.federation.plan import Plan

SCHEMA = 1
COUNTS = ("n_in", "kept", "revised", "dropped", "errored")
PACKAGES = ("torch", "transformers", "peft", "trl", "flwr")


def _screening(plan: Plan) -> dict[str, Any]:
    clients = {p.stem: read_json(p) for p in sorted((Path(plan.out) / "clients").glob("*.json"))}
    per_client = {name: {key: client[key] for key in COUNTS} for name, client in clients.items()}
    return {**{key: sum(c[key] for c in per_client.values()) for key in COUNTS}, "clients": per_client}


def training_facts(plan: Plan) -> dict[str, Any]:
    """Rounds, clients, bytes over the wire and the last mean losses.

    ``final_loss`` is that of clients that fine-tune on rows (nats per answer token), ``final_dpo_loss`` that of clients
    that train on preferences (nats per pair); each only where there are such clients.
    """
    rounds = round_metrics(Path(plan.out))
    latest = {key: value for metrics in rounds for key, value in metrics.items()}
    losses = {"final_loss": latest.get("last-loss"), "final_dpo_loss": latest.get("dpo-last-loss")}
    return {
        "rounds": len(rounds),
        "clients": plan.clients,
        "bytes_up": int(sum(r["bytes_up"] for r in rounds)),
        "bytes_down": int(sum(r["bytes_down"] for r in rounds)),
        **{name: loss for name, loss in losses.items() if loss is not None},
    }


def alignment_facts(folders: Sequence[Path]) -> dict[str, Any]:
    """Counts of the first alignment, and what all of them cost: seconds, training steps and the tokens they read."""
    manifests, costs = [read_json(f / MANIFEST) for f in folders], [read_json(f / COST) for f in folders]
    trained = [manifest[part] for manifest in manifests for part in PARTS if part in manifest]
    spent = {key: sum(report[key] for report in trained) for key in ("steps", "tokens")}
    seconds = {key: round(sum(cost[key] for cost in costs), 2) for key in ("data_seconds", "training_seconds")}
    return {**manifests[0]["counts"], "alignments": len(folders), **spent, **seconds}


def arm_summary(arms: Sequence[ArmPlan], done: Mapping[str, Done]) -> dict[str, Any]:
    """One arm over its seeds: screening counts, training facts, benchmarks by judge."""
    merged = merge_seeds([done[arm.evaluation.name].result for arm in arms])
    summary: dict[str, Any] = {"benchmarks": merged}
    if arms[0].plan:
        seconds = sum(done[Path(arm.plan.out).name].seconds for arm in arms if arm.plan)
        summary["screening"] = _screening(arms[0].plan)
        summary["train"] = {**training_facts(arms[0].plan), "seconds": round(seconds, 2)}
    if found := arms[0].alignments:
        summary["align"] = alignment_facts(found)
    return summary


def write_summary(
    config: ExperimentConfig, out: Path, arms: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write ``summary.json`` and ``report.html`` into ``out``; returns the summary."""
    summary = {
        "schema": SCHEMA,
        "name": config.name,
        "base_model": config.model.name,
        "seeds": config.seeds,
        "engine": config.engine,
        "versions": {"safefed": __version__, **{package: version(package) for package in PACKAGES}},
        "arms": dict(arms),
        "stages": list(stages),
    }
    write_json(out / "summary.json", summary)
    write_report(summary, out / "report.html")
    return summary
