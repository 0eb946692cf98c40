"""Training an adapter on preference pairs with TRL: direct preference optimisation on one node.

Source: DPO, arXiv 2305.18290, equation 7; the reference is the adapter as it was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from safefed.adapter import Adapter
from safefed.errors import DataError
from safefed.escape import control_tokens
from safefed.models import LoadedModel
from safefed.progress import Advance
from safefed.records import PreferencePair, Sample
from safefed.training import IGNORED, UNLIMITED, Budget, LocalTraining, TrainReport, encode, fitted

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


def tokenize_pairs(pairs: Sequence[PreferencePair], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Rows for ``train_preferences``: columns ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.

    Answers are cut at ``max_length`` tokens, prompt included; a pair whose prompt alone fills it is left out, as is one
    whose answers are equal then. Control tokens inside content are broken (``safefed.escape``).

    Raises:
        DataError: no pair remains, or the chat template cannot be masked.
    """
    from datasets import Dataset

    control = control_tokens(tokenizer)
    rows = []
    for pair in pairs:
        chosen, rejected = (
            encode(Sample.of(pair.prompt, text), tokenizer, control, max_length)
            for text in (pair.chosen, pair.rejected)
        )
        if chosen and rejected and chosen != rejected:
            rows.append(_row(chosen, rejected))
    if not rows:
        raise DataError(f"none of {len(pairs)} pairs can be trained on within max_length={max_length} tokens; raise it")
    return Dataset.from_list(rows)


def _row(chosen: dict[str, list[int]], rejected: dict[str, list[int]]) -> dict[str, list[int]]:
    n = chosen["labels"].count(IGNORED)
    answers = {"chosen_ids": chosen["input_ids"][n:], "rejected_ids": rejected["input_ids"][n:]}
    return {"prompt_ids": chosen["input_ids"][:n], **answers}


def train_preferences(
    loaded: LoadedModel,
    adapter: Adapter,
    pairs: Dataset,
    training: LocalTraining,
    beta: float,
    budget: Budget = UNLIMITED,
    advance: Advance = lambda _steps: None,
) -> tuple[Adapter, TrainReport]:
    """Direct preference optimisation of ``adapter`` on tokenised ``pairs``; the base model is left as it was.

    Args:
        loaded: The base model.
        adapter: Where to start from, and the reference; not changed.
        pairs: From ``tokenize_pairs``.
        training: Steps, batch (pairs), learning rate and seed.
        beta: How much leaving the reference costs (DPO's beta).
        budget: What may end it before its last step.
        advance: Called with 1 after each step.

    Returns:
        The trained adapter and what was seen.

    Raises:
        DataError: the adapter does not fit the model.
    """
    return fitted(
        loaded, adapter, training, lambda model, common: _trainer(model, pairs, loaded, beta, common), budget, advance
    )


def _trainer(model: PeftModel, pairs: Dataset, loaded: LoadedModel, beta: float, common: dict[str, Any]) -> Any:
    from trl import DPOConfig

    from safefed.trainer import PreferenceTrainer

    settings = DPOConfig(**common, beta=beta)
    return PreferenceTrainer(model=model, args=settings, train_dataset=pairs, processing_class=loaded.tokenizer)
