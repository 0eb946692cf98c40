"""Server-side constitutional alignment: the global model's own answers to red-team prompts, revised and learned.

The supervised stage of Constitutional AI (arXiv 2212.08073) applied to the aggregated model as in arXiv 2502.16691;
the base model (adapter off) critiques and revises, since the global model may be the one that was corrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safefed.adapter import Adapter, save_adapter, with_adapter
from safefed.config import AlignConfig, ReviseConfig
from safefed.constitution import Constitution, revise
from safefed.errors import DataError
from safefed.generate import Generator, LocalGenerator
from safefed.models import LoadedModel
from safefed.records import PreferencePair, Sample, Verdict
from safefed.store import write_jsonl, write_manifest
from safefed.training import LocalTraining, TrainReport, tokenize, train_adapter

if TYPE_CHECKING:
    from safefed.filters import Filter

REFUSED = 0.5


@dataclass(frozen=True, slots=True)
class AlignmentData:
    """What the server trains on, and how it came about (counts by outcome; the constitution as its ``about`` says)."""

    rows: list[Sample]
    pairs: list[PreferencePair]
    counts: dict[str, int]
    constitution: dict[str, str]


def _answers(generator: Generator, prompts: Sequence[Sample], max_new_tokens: int) -> list[Sample]:
    texts = generator.generate([prompt.context for prompt in prompts], max_new_tokens=max_new_tokens)
    return [prompt.with_response(text.text) for prompt, text in zip(prompts, texts, strict=True)]


def _is_good_refusal(verdict: Verdict) -> bool:
    return verdict.action == "keep" and verdict.scores.get("refusal", 0.0) >= REFUSED


def _safe_rows(
    answers: Sequence[Sample], base: Generator, screen: Filter, constitution: Constitution, config: ReviseConfig
) -> AlignmentData:
    """Answers that already decline stay; every other answer to a red-team prompt is critiqued and revised."""
    verdicts = screen.score(answers)
    judged = list(zip(answers, verdicts, strict=True))
    kept = [answer for answer, verdict in judged if _is_good_refusal(verdict)]
    doubtful = [(answer, verdict) for answer, verdict in judged if not _is_good_refusal(verdict)]
    outcomes = revise([a for a, _ in doubtful], [v for _, v in doubtful], constitution, base, screen.score, config)
    revised = [outcome.sample for outcome in outcomes if outcome.sample]
    reasons = Counter(f"revision_{outcome.reason}" for outcome in outcomes)
    counts = {"red_team": len(answers), "already_refused": len(kept), "revised": len(revised), **reasons}
    return AlignmentData(
        [*kept, *revised], [outcome.pair for outcome in outcomes if outcome.pair], counts, constitution.about()
    )


def _helpful_rows(n: int, prompts: Sequence[Sample], base: Generator, screen: Filter, max_new: int) -> list[Sample]:
    answers = _answers(base, prompts[:n], max_new) if n else []
    return [a for a, v in zip(answers, screen.score(answers), strict=True) if a.response and v.action == "keep"]


def alignment_data(
    loaded: LoadedModel,
    adapter: Adapter,
    red_team: Sequence[Sample],
    helpful: Sequence[Sample],
    *,
    screen: Filter,
    constitution: Constitution,
    revise_config: ReviseConfig,
    config: AlignConfig,
) -> AlignmentData:
    """Build the training rows: verified safe answers, and the base model's answers to harmless prompts.

    Raises:
        DataError: no safe answer was found at all.
    """
    limit = revise_config.max_new_tokens
    with with_adapter(loaded, adapter) as live:
        answers = _answers(LocalGenerator(live, batch_size=revise_config.batch_size), red_team, limit)
        base = LocalGenerator(live, batch_size=revise_config.batch_size, base_only=True)
        safe = _safe_rows([a for a in answers if a.response], base, screen, constitution, revise_config)
        if not safe.rows:
            raise DataError(f"none of {len(red_team)} red-team answers could be made safe; use a stronger base model")
        n_helpful = round(len(safe.rows) * config.helpful_share / max(1e-9, 1.0 - config.helpful_share))
        extra = _helpful_rows(min(n_helpful, len(helpful)), helpful, base, screen, limit)
    return AlignmentData([*safe.rows, *extra], safe.pairs, {**safe.counts, "helpful": len(extra)}, safe.constitution)


def align(
    loaded: LoadedModel,
    adapter: Adapter,
    data: AlignmentData,
    out: Path,
    *,
    config: AlignConfig,
    max_length: int,
    seed: int,
) -> tuple[Adapter, TrainReport]:
    """Fine-tune the global adapter on ``data`` and write ``out``: rows, pairs, adapter/, the manifest last."""
    training = LocalTraining(config.steps, config.batch_size, config.learning_rate, max_length, seed)
    rows = tokenize(data.rows, loaded.tokenizer, max_length)
    aligned, report = train_adapter(loaded, adapter, rows, training)
    write_jsonl(out / "rows.jsonl", (row.to_json() for row in data.rows))
    write_jsonl(out / "pairs.jsonl", (pair.to_json() for pair in data.pairs))
    save_adapter(aligned, loaded, out / "adapter", **data.constitution)
    facts = {"counts": data.counts, **data.constitution, "first_loss": report.first_loss, "last_loss": report.last_loss}
    write_manifest(out, ["rows.jsonl", "pairs.jsonl", "adapter/manifest.json"], **facts)
    return aligned, report
