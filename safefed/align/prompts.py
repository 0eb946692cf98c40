"""Which prompts the global model is asked: red-team prompts and harmless ones, drawn anew for every seed."""

from __future__ import annotations

from collections.abc import Sequence

from safefed.config import AlignConfig, SourceConfig
from safefed.errors import DataError
from safefed.records import Sample, content_hash
from safefed.sources import read_pool
from safefed.tiny import default_samples


def alignment_prompts(config: AlignConfig, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Red-team prompts, without an answer, and harmless prompts, some with one; equal arguments give equal prompts.

    Raises:
        DataError: a source cannot be read, or holds fewer distinct prompts than asked for.
    """
    red_team = _drawn(config.prompts, config.n_prompts, seed) or default_samples("redteam", config.n_prompts, seed=seed)
    harmless = _drawn(config.helpful, config.n_helpful, seed) or default_samples("helpful", config.n_helpful, seed=seed)
    return [Sample.of(sample.prompt) for sample in red_team], harmless


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
    return [distinct[prompt] for prompt in sorted(distinct, key=lambda prompt: content_hash([seed, prompt]))[:n]]
