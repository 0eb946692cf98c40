"""What one worker process does for one stage. Arguments and results are plain values, so they cross processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safefed.config import ExperimentConfig, SourceConfig, load_node
from safefed.errors import DataError
from safefed.experiment.partition import read_pool
from safefed.federation.client import prepared
from safefed.federation.engine import run_engine
from safefed.federation.plan import Ask, Plan, derived_seed
from safefed.models import load_model
from safefed.progress import Silent
from safefed.records import Sample
from safefed.store import read_manifest
from safefed.tiny import default_samples


def screen_client(client_file: Path, plan: Plan) -> None:
    """Bring one client's data set through its screen, before training asks for it."""
    node = load_node(client_file)
    prepared(node, Ask(fingerprint={}, screening=plan.screening, threshold=plan.screen.threshold))


def train_arm(engine: str, plan: Plan, client_files: Sequence[Path]) -> None:
    """Federated training to the final adapter."""
    run_engine(engine, plan, client_files, Silent())


def _prompts(sources: Sequence[SourceConfig], kind: str, n: int, seed: int) -> list[Sample]:
    if not sources:
        return default_samples(kind, n, seed=seed)  # type: ignore[arg-type]
    samples, _ = read_pool(sources)
    distinct = list({sample.prompt: Sample.of(sample.prompt) for sample in samples}.values())
    if len(distinct) < n:
        raise DataError(
            f"{len(distinct)} distinct prompts in the align sources, {n} are asked for; lower align.n_prompts"
        )
    order = sorted(distinct, key=lambda sample: derived_seed(seed, sample.id))
    return order[:n]


def align_arm(config: ExperimentConfig, adapter: Path, out: Path, seed: int) -> None:
    """Server-side constitutional alignment of a trained adapter."""
    from safefed.adapter import read_adapter
    from safefed.align import align, alignment_data
    from safefed.constitution import load_constitution
    from safefed.filters import load_filter

    if read_manifest(out) is not None:
        return
    loaded = load_model(config.model)
    start = read_adapter(adapter, loaded)
    n = config.align.n_prompts
    data = alignment_data(
        loaded,
        start,
        _prompts(config.align.prompts, "redteam", n, seed),
        _prompts(config.align.helpful, "helpful", n, seed),
        screen=load_filter(config.screen.filter, threshold=config.screen.threshold),
        constitution=load_constitution(config.revise.constitution),
        revise_config=config.revise,
        config=config.align,
    )
    max_length = config.train.max_length
    align(loaded, start, data, out, config=config.align, max_length=max_length, seed=derived_seed("align", seed))


def evaluate_arm(
    config: ExperimentConfig, adapter: Path | None, out: Path, seed: int, screened_by: Sequence[str]
) -> Mapping[str, Any]:
    """One model (the base, or the base with an adapter) through every benchmark and judge."""
    from safefed.benchmarking import benchmark

    return benchmark(config.model, config.benchmark, out, adapter=adapter, seed=seed, screened_by=screened_by)
