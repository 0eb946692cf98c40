"""One alignment from prompts to adapter: what is learnt from on disk, then distillation, SFT and DPO.

Sources: arXiv 2212.08073 (constitutional SFT), arXiv 2305.18290 (DPO; the reference is the adapter as it comes to it),
arXiv 2502.16691 (both on a federated model), arXiv 1503.02531 (distillation).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safefed.adapter import Adapter, read_adapter, save_adapter, state_hash
from safefed.align.data import TEACHER, AlignmentData, Means, alignment_data
from safefed.align.prompts import alignment_prompts
from safefed.config import AlignConfig, Count, ReviseConfig, ScreenConfig, Section
from safefed.constitution import load_constitution
from safefed.errors import ConfigError
from safefed.filters import load_filter
from safefed.generate import Generator
from safefed.generations import Remembered, load_generator
from safefed.models import LoadedModel
from safefed.preferences import tokenize_pairs, train_preferences
from safefed.progress import Advance, Progress, Silent
from safefed.records import content_hash
from safefed.store import read_manifest, write_json, write_jsonl, write_manifest
from safefed.training import Budget, LocalTraining, TrainReport, tokenize, train_adapter

COST = "cost.json"
"""Seconds of the parts; beside the manifest, since they differ from run to run."""

PARTS = ("distil", "sft", "dpo")
"""How the manifest calls the reports of what was trained, in order."""

_LOG, _SILENT = ".log", Silent()


class AlignSettings(Section):
    """Everything that decides an alignment, but for the model and the seed."""

    align: AlignConfig = AlignConfig()
    screen: ScreenConfig = ScreenConfig()
    revise: ReviseConfig = ReviseConfig()
    max_length: Count = 256

    def decisive(self) -> dict[str, Any]:
        """What decides the result, as JSON values; see ``ReviseConfig.decisive``."""
        return {**self.model_dump(mode="json"), "revise": self.revise.decisive()}

    def require_possible(self) -> None:
        """Raises ConfigError where the parts contradict each other, before anything is asked or trained."""
        if self.align.dpo_steps and not self.revise.keep_originals:
            raise ConfigError(
                "revise.keep_originals = false leaves no unsafe answer that a safe one could be preferred to; "
                "set align.dpo_steps = 0"
            )
        if self.align.critic == "endpoint" and self.revise.generator.kind != "endpoint":
            raise ConfigError('align.critic is "endpoint", and no endpoint is configured; set revise.generator')


def align_adapter(
    loaded: LoadedModel,
    adapter: Adapter,
    settings: AlignSettings,
    out: Path,
    *,
    seed: int,
    training_seed: int,
    progress: Progress = _SILENT,
) -> Adapter:
    """Align ``adapter`` and write ``out``; an ``out`` that was finished from all the same is only read.

    Args:
        loaded: The base model.
        adapter: The global adapter; not changed.
        settings: Prompts, screen, constitution, training.
        out: Receives rows.jsonl, pairs.jsonl, adapter/, cost.json and, last, the manifest; until then logs of what
            was generated, so that a resumed alignment asks no model twice. There are none where originals may not be
            kept, since the global model's own answers are in them.
        seed: Draws the prompts.
        training_seed: Orders the batches.
        progress: Shows the answers and the training steps.

    Raises:
        DataError: too few prompts, or no safe answer was found at all.
        ConfigError: the screen, the constitution or the endpoint cannot be loaded, or preferences are to be trained on
            answers that may not be kept.
    """
    start = state_hash(adapter.state)
    request = content_hash([start, settings.decisive(), seed, training_seed])
    if (read_manifest(out) or {}).get("request") == request:
        _forget(out)
        return read_adapter(out / "adapter", loaded)
    settings.require_possible()
    started = time.monotonic()
    with progress.task("alignment: answers", 0) as heard:

        def remember(generator: Generator, name: str) -> Generator:
            path = out / f"{name}{_LOG}" if settings.revise.keep_originals else None
            return Remembered(generator, path, start, heard)

        prompts = alignment_prompts(settings.align, seed)
        data = alignment_data(loaded, adapter, *prompts, _means(settings, loaded, remember))
    cost = {"data_seconds": time.monotonic() - started}
    steps = settings.align.distil_steps + settings.align.sft_steps + settings.align.dpo_steps
    with progress.task("alignment: steps", steps) as advance:
        aligned = align(
            loaded,
            adapter,
            data,
            out,
            settings=settings,
            seed=training_seed,
            cost=cost,
            request=request,
            advance=advance,
        )
    _forget(out)
    return aligned


def _forget(out: Path) -> None:
    """Delete the logs, also those of an alignment that was killed between its manifest and this."""
    for log in out.glob(f"*{_LOG}"):
        log.unlink()


def _means(settings: AlignSettings, loaded: LoadedModel, remember: Callable[[Generator, str], Generator]) -> Means:
    revise = settings.revise

    def endpoint() -> Generator:
        return load_generator(revise.generator, loaded.config, batch_size=revise.batch_size)

    return Means(
        screen=load_filter(settings.screen.filter, threshold=settings.screen.threshold),
        constitution=load_constitution(revise.constitution),
        revise=revise,
        config=settings.align,
        endpoint=endpoint if revise.generator.kind == "endpoint" else None,
        remember=remember,
    )


def align(
    loaded: LoadedModel,
    adapter: Adapter,
    data: AlignmentData,
    out: Path,
    *,
    settings: AlignSettings,
    seed: int,
    cost: Mapping[str, float],
    request: str = "",
    advance: Advance = lambda _steps: None,
) -> Adapter:
    """Train ``adapter`` on ``data`` and write ``out``, the manifest last; it holds ``request``, what was asked for."""
    started = time.monotonic()
    write_jsonl(out / "rows.jsonl", (row.to_json() for row in data.rows))
    write_jsonl(out / "pairs.jsonl", (pair.to_json() for pair in data.pairs))
    aligned, reports = _trained(loaded, adapter, data, settings, seed, advance)
    save_adapter(aligned, loaded, out / "adapter", **data.constitution)
    write_json(out / COST, {**cost, "training_seconds": time.monotonic() - started})
    facts: dict[str, Any] = {name: asdict(report) for name, report in reports.items()}
    about = {
        "start": state_hash(adapter.state),
        "request": request,
        "counts": data.counts,
        "critic": data.critic,
        **data.constitution,
    }
    write_manifest(out, ["rows.jsonl", "pairs.jsonl", "adapter/manifest.json"], **about, **facts)
    return aligned


def _trained(
    loaded: LoadedModel, adapter: Adapter, data: AlignmentData, settings: AlignSettings, seed: int, advance: Advance
) -> tuple[Adapter, dict[str, TrainReport]]:
    """Distillation, supervised fine-tuning, preferences, each if it has steps and something to learn from."""
    config, length, reports = settings.align, settings.max_length, {}
    taught = [row for row in data.rows if row.meta.get("teacher") == TEACHER]
    own = [row for row in data.rows if row.meta.get("teacher") != TEACHER]
    budget = Budget(config.tokens, config.seconds)

    def training(steps: int, learning_rate: float) -> LocalTraining:
        return LocalTraining(steps, config.batch_size, learning_rate, length, seed)

    if config.distil_steps:
        rows = tokenize(taught, loaded.tokenizer, length)
        plan = training(config.distil_steps, config.distil_learning_rate)
        adapter, reports["distil"] = train_adapter(loaded, adapter, rows, plan, budget, advance, teacher="base")
    if config.sft_steps:
        rows = tokenize(own, loaded.tokenizer, length)
        plan = training(config.sft_steps, config.sft_learning_rate)
        adapter, reports["sft"] = train_adapter(loaded, adapter, rows, plan, budget, advance)
    if config.dpo_steps and data.pairs:
        pairs = tokenize_pairs(data.pairs, loaded.tokenizer, length)
        plan = training(config.dpo_steps, config.dpo_learning_rate)
        adapter, reports["dpo"] = train_preferences(loaded, adapter, pairs, plan, config.beta, budget, advance)
    return adapter, reports
