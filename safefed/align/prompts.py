"""Which prompts the global model is asked: red-team prompts and harmless ones, drawn anew for every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from safefed.align.contrasts import contrasts
from safefed.config import AlignConfig, SourceConfig
from safefed.errors import DataError
from safefed.records import Sample, content_hash
from safefed.sources import read_pool
from safefed.tiny import default_samples

T = TypeVar("T")


def alignment_prompts(config: AlignConfig, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Red-team prompts, without an answer, and harmless prompts, some with one; equal arguments give equal prompts.

    Each kind ends with its side of ``n_contrasts`` contrasts.

    Raises:
        DataError: a source cannot be read, or holds fewer distinct prompts than asked for.
    """
    red_team = _drawn(config.prompts, config.n_prompts, seed) or default_samples("redteam", config.n_prompts, seed=seed)
    harmless = _drawn(config.helpful, config.n_helpful, seed) or default_samples("helpful", config.n_helpful, seed=seed)
    drawn = _shuffled({pair[0].prompt: pair for pair in contrasts()}, seed)[: config.n_contrasts]
    asked = [Sample.of(sample.prompt) for sample in red_team]
    return [*asked, *(harmful for _, harmful in drawn)], [*harmless, *(answered for answered, _ in drawn)]


def _drawn(sources: Sequence[SourceConfig], n: int, seed: int) -> list[Sample]:
    if not sources:
        return []
    rows, _ = read_pool(sources)
    distinct = {row.prompt: Sample.of(row.prompt, row.response) for row in rows}
    if len(distinct) < n:
        raise DataError(
            f"{len(distinct)} distinct prompts in the align sources, {n} are asked for; "
            "lower align.n_prompts or align.n_helpful"
        )
    return _shuffled(distinct, seed)[:n]


def _shuffled(by_prompt: Mapping[str, T], seed: int) -> list[T]:
    return [by_prompt[prompt] for prompt in sorted(by_prompt, key=lambda prompt: content_hash([seed, prompt]))]
