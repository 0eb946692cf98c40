"""Token windows: a text's tokens, cut so that everything is read to its very end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from safefed.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    Ids = NDArray[np.int32]

CHARACTERS = 2**20
"""Characters that are tokenised together, which bounds the memory; longer texts are cut there, at a space if any."""

_USUAL_LIMIT = 512
_NO_LIMIT = 10**6


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a single text.

    Raises:
        DataError: that cannot be told.
    """
    full: list[int] = tokenizer("a")["input_ids"]
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    for start in range(len(full)):
        end = start + len(bare)
        if bare and full[start:end] == bare:
            return full[:start], full[end:]
    raise DataError(f"tokenizer {tokenizer.name_or_path} frames texts in an unknown way; use a fast tokenizer")


def token_limit(model: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens the model reads at once, special ones included; 512 where neither model nor tokenizer says."""
    positions = getattr(model.config, "max_position_embeddings", None) or 0
    known = [tokenizer.model_max_length, positions if positions > 0 else _NO_LIMIT]  # XLNet says -1
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            # RoBERTa counts positions from its padding index on.
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            known.append(module.num_embeddings - unused)
    limit = min(known)
    return limit if limit < _NO_LIMIT else _USUAL_LIMIT


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """The tokens of each text without special ones, tokenised in bulk; a lone surrogate becomes U+FFFD."""
    found: list[list[Ids]] = [[] for _ in texts]
    for group in _groups((owner, part) for owner, text in enumerate(texts) for part in _parts(text)):
        tokens = tokenizer(
            [part for _, part in group],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # a text over the limit is no mistake here
        )["input_ids"]
        for (owner, _), ids in zip(group, tokens, strict=True):
            found[owner].append(np.array(ids, dtype=np.int32))
    return [np.concatenate(parts) for parts in found]


def _parts(text: str) -> Iterator[str]:
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    start = 0
    while len(text) - start > CHARACTERS:
        space = text.rfind(" ", start + CHARACTERS // 2, start + CHARACTERS)
        end = start + CHARACTERS if space < 0 else space
        yield text[start:end]
        start = end
    yield text[start:]


def _groups(parts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    group: list[tuple[int, str]] = []
    size = 0
    for owner, part in parts:
        if group and size + len(part) > CHARACTERS:
            yield group
            group, size = [], 0
        group.append((owner, part))
        size += len(part)
    if group:
        yield group


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """(start, end) of the windows of at most ``size`` tokens over ``n``.

    One window if all fits; else each begins three quarters of a window after the one before; the last ends at ``n``.
    """
    last = max(n - size, 0)
    starts = [*range(0, last, max(1, size - size // 4)), last]
    return [(start, min(start + size, n)) for start in starts]
