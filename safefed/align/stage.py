"""One alignment from prompts to adapter: rows and pairs on disk, then SFT, then DPO against the tuned adapter.

Sources: arXiv 2212.08073 (constitutional SFT), arXiv 2305.18290 (DPO), arXiv 2502.16691 (both on a federated model).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safefed.adapter import Adapter, read_adapter, save_adapter, state_hash
from safefed.align.data import AlignmentData, alignment_data
from safefed.align.prompts import alignment_prompts
from safefed.config import AlignConfig, Count, ReviseConfig, ScreenConfig, Section
from safefed.constitution import load_constitution
from safefed.filters import load_filter
from safefed.models import LoadedModel
from safefed.preferences import tokenize_pairs, train_preferences
from safefed.store import read_manifest, write_json, write_jsonl, write_manifest
from safefed.training import Budget, LocalTraining, TrainReport, tokenize, train_adapter

COST = "cost.json"
"""Seconds of the parts; beside the manifest, since they differ from run to run."""


class AlignSettings(Section):
    """Everything that decides an alignment, but for the model and the seed."""

    align: AlignConfig = AlignConfig()
    screen: ScreenConfig = ScreenConfig()
    revise: ReviseConfig = ReviseConfig()
    max_length: Count = 256


def align_adapter(
    loaded: LoadedModel, adapter: Adapter, settings: AlignSettings, out: Path, *, seed: int, training_seed: int
) -> Adapter:
    """Align ``adapter`` and write ``out``; an ``out`` that was finished from the same adapter is only read.

    Args:
        loaded: The base model.
        adapter: The global adapter; not changed.
        settings: Prompts, screen, constitution, training.
        out: Receives rows.jsonl, pairs.jsonl, adapter/, cost.json and, last, the manifest.
        seed: Draws the prompts.
        training_seed: Orders the batches.

    Raises:
        DataError: too few prompts, or no safe answer was found at all.
        ConfigError: the screen or the constitution cannot be loaded.
    """
    if (read_manifest(out) or {}).get("start") == state_hash(adapter.state):
        return read_adapter(out / "adapter", loaded)
    started = time.monotonic()
    red_team, harmless = alignment_prompts(settings.align, seed)
    data = alignment_data(
        loaded,
        adapter,
        red_team,
        harmless,
        screen=load_filter(settings.screen.filter, threshold=settings.screen.threshold),
        constitution=load_constitution(settings.revise.constitution),
        revise_config=settings.revise,
        config=settings.align,
    )
    cost = {"data_seconds": time.monotonic() - started}
    return align(loaded, adapter, data, out, settings=settings, seed=training_seed, cost=cost)


def align(
    loaded: LoadedModel,
    adapter: Adapter,
    data: AlignmentData,
    out: Path,
    *,
    settings: AlignSettings,
    seed: int,
    cost: Mapping[str, float],
) -> Adapter:
    """Train ``adapter`` on ``data`` and write ``out``, the manifest last."""
    started = time.monotonic()
    write_jsonl(out / "rows.jsonl", (row.to_json() for row in data.rows))
    write_jsonl(out / "pairs.jsonl", (pair.to_json() for pair in data.pairs))
    aligned, reports = _trained(loaded, adapter, data, settings, seed)
    save_adapter(aligned, loaded, out / "adapter", **data.constitution)
    write_json(out / COST, {**cost, "training_seconds": time.monotonic() - started})
    facts: dict[str, Any] = {name: asdict(report) for name, report in reports.items()}
    about = {"start": state_hash(adapter.state), "counts": data.counts, "critic": data.critic, **data.constitution}
    write_manifest(out, ["rows.jsonl", "pairs.jsonl", "adapter/manifest.json"], **about, **facts)
    return aligned


def _trained(
    loaded: LoadedModel, adapter: Adapter, data: AlignmentData, settings: AlignSettings, seed: int
) -> tuple[Adapter, dict[str, TrainReport]]:
    """Supervised fine-tuning, then preferences, each if it has steps; without a pair there is nothing to prefer."""
    config, length, reports = settings.align, settings.max_length, {}
    budget = Budget(config.tokens, config.seconds)
    if config.steps:
        rows = tokenize(data.rows, loaded.tokenizer, length)
        training = LocalTraining(config.steps, config.batch_size, config.learning_rate, length, seed)
        adapter, reports["sft"] = train_adapter(loaded, adapter, rows, training, budget)
    if config.dpo_steps and data.pairs:
        pairs = tokenize_pairs(data.pairs, loaded.tokenizer, length)
        training = LocalTraining(config.dpo_steps, config.batch_size, config.dpo_learning_rate, length, seed)
        adapter, reports["dpo"] = train_preferences(loaded, adapter, pairs, training, config.beta, budget)
    return adapter, reports
