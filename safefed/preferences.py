"""Training an adapter on preference pairs with TRL: direct preference optimisation on one node.

Source: DPO, arXiv 2305.18290, equation 7; the reference is the adapter as it was before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from safefed.adapter import Adapter, adapted, old_names, take_state
from safefed.errors import DataError
from safefed.escape import control_tokens
from safefed.models import LoadedModel
from safefed.progress import Advance
from safefed.records import PreferencePair, Sample
from safefed.training import IGNORED, UNLIMITED, Budget, LocalTraining, TrainReport, encode, trainer_arguments

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import DPOConfig


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


def _dpo_config(training: LocalTraining, beta: float, loaded: LoadedModel, folder: str) -> DPOConfig:
    import torch
    from trl import DPOConfig

    on_cpu, bf16 = loaded.model.device.type == "cpu", loaded.model.dtype == torch.bfloat16
    return DPOConfig(
        **trainer_arguments(training, folder, on_cpu=on_cpu, bf16=bf16),
        beta=beta,
        max_length=None,
    )


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
    from safefed.trainer import PreferenceTrainer, run_quietly

    with adapted(loaded, adapter) as model, tempfile.TemporaryDirectory(prefix="safefed-") as folder, old_names():
        arguments: Any = _dpo_config(training, beta, loaded, folder)
        trainer = PreferenceTrainer(model=model, args=arguments, train_dataset=pairs, processing_class=loaded.tokenizer)
        try:
            report = run_quietly(trainer, budget, advance)
        finally:
            model.delete_adapter("ref")  # TRL's copy of the adapter, the reference
        trained = Adapter(adapter.lora, take_state(model))
    return trained, report
