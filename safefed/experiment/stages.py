"""What one worker process does for one stage. Arguments and results are plain values, so they cross processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safefed.align import AlignSettings, align_adapter
from safefed.config import ExperimentConfig, ModelConfig, load_node
from safefed.federation.client import prepared
from safefed.federation.engine import run_engine
from safefed.federation.plan import Ask, Plan, derived_seed
from safefed.models import load_model
from safefed.progress import Progress


def screen_client(client_file: Path, plan: Plan) -> None:
    """Bring one client's data set through its screen, before training asks for it."""
    node = load_node(client_file)
    prepared(node, Ask(fingerprint={}, screening=plan.screening, threshold=plan.screen.threshold))


def train_arm(engine: str, plan: Plan, client_files: Sequence[Path], *, progress: Progress) -> None:
    """Federated training to the final adapter."""
    run_engine(engine, plan, client_files, progress)


def align_arm(
    model: ModelConfig, settings: AlignSettings, adapter: Path, out: Path, seed: int, *, progress: Progress
) -> None:
    """Server-side constitutional alignment of a trained adapter."""
    from safefed.adapter import read_adapter

    loaded = load_model(model)
    start = read_adapter(adapter, loaded)
    training_seed = derived_seed("align", seed)
    align_adapter(loaded, start, settings, out, seed=seed, training_seed=training_seed, progress=progress)


def evaluate_arm(
    config: ExperimentConfig,
    adapter: Path | None,
    out: Path,
    seed: int,
    screened_by: Sequence[str],
    *,
    progress: Progress,
) -> Mapping[str, Any]:
    """One model (the base, or the base with an adapter) through every benchmark and judge."""
    from safefed.benchmarking import benchmark

    return benchmark(
        config.model, config.benchmark, out, adapter=adapter, seed=seed, screened_by=screened_by, progress=progress
    )
