"""Prompts of different lengths in one tensor, and transformers' own greedy generation over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

ROW_TOKENS = 256
"""Prompt tokens per row that a full batch has room for; longer prompts make smaller batches."""


class Limits(NamedTuple):
    """Of answers and batches.

    Attributes:
        ends: Tokens that end an answer.
        pad: Fills up shorter rows.
        max_new_tokens: Where an answer is cut.
        batch_size: Rows of a batch, before ``most_rows``.
    """

    ends: Sequence[int]
    pad: int
    max_new_tokens: int
    batch_size: int


def padded(
    prompts: Sequence[Sequence[int]], pad: int, device: Any, *, left: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as one tensor, padded on the left (right: for encoders), and its mask; both (rows, longest prompt)."""
    import torch

    width = max(map(len, prompts))
    gaps = [(width - len(prompt), 0) if left else (0, width - len(prompt)) for prompt in prompts]
    rows = zip(gaps, prompts, strict=True)
    ids = [[pad] * before + list(prompt) + [pad] * after for (before, after), prompt in rows]
    mask = [[0] * before + [1] * (width - before - after) + [0] * after for before, after in gaps]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def most_rows(longest: int, batch_size: int) -> int:
    """Rows of a batch whose longest has ``longest`` tokens: ``batch_size * ROW_TOKENS`` tokens at most, padding too."""
    return max(1, min(batch_size, batch_size * ROW_TOKENS // max(1, longest)))


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions, longest first, in batches of ``most_rows``."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        size = most_rows(lengths[order[0]], batch_size)
        yield order[:size]
        order = order[size:]


def generate_padded(model: Any, prompts: Sequence[Sequence[int]], limits: Limits) -> Iterator[dict[int, list[int]]]:
    """The greedy continuation of each prompt by ``model.generate``, batch by batch, each under its prompt's position.

    After an end token there may be more.

    Args:
        model: Any causal model of transformers, or a PeftModel, in eval mode.
        prompts: Tokens, at least one each.
        limits: Of answers and batches.
    """
    config = _greedy(limits)
    for rows in batches([len(prompt) for prompt in prompts], limits.batch_size):
        ids, mask = padded([prompts[i] for i in rows], limits.pad, model.device)
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        yield dict(zip(rows, out[:, ids.shape[1] :].tolist(), strict=True))


def _greedy(limits: Limits) -> GenerationConfig:
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=limits.max_new_tokens,
        eos_token_id=list(limits.ends),
        pad_token_id=limits.pad,
        # Said in full: what is left out is taken from the model's own generation_config.json.
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        min_length=0,
    )
