"""The trainer of classifiers: cross-entropy on what the filter scores, the odds of a row's axis."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

from safefed.adapter import old_names, peft_config
from safefed.config import LoraSettings
from safefed.errors import DataError
from safefed.models import has_bfloat16
from safefed.progress import Advance
from safefed.trainer import run_quietly
from safefed.training import UNLIMITED, LocalTraining, TrainReport, trainer_arguments


class Row(TypedDict):
    """A row to train on: its tokens, the number of its axis, and 1.0 if it is unsafe."""

    input_ids: list[int]
    axis: int
    unsafe: float


@dataclass(frozen=True, slots=True)
class Odds:
    """From a classifier's logits to the log odds whose sigmoid is the score of ``safefed.filters.classifier``.

    Attributes:
        columns: The labels that count, by axis.
        single: Whether exactly one label holds (softmax); otherwise each may (sigmoid).
    """

    columns: Sequence[Sequence[int]]
    single: bool

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """(rows, labels) to (rows, axes)."""
        if not self.single:
            return torch.stack([logits[:, list(own)].amax(dim=1) for own in self.columns], dim=1)
        rest = [[i for i in range(logits.shape[1]) if i not in own] for own in self.columns]
        pairs = [(logits[:, list(own)], logits[:, others]) for own, others in zip(self.columns, rest, strict=True)]
        return torch.stack([unsafe.logsumexp(dim=1) - safe.logsumexp(dim=1) for unsafe, safe in pairs], dim=1)


class AxisTrainer(Trainer):
    """Trainer whose rows each teach the odds of one axis."""

    odds: Odds

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """Mean binary cross-entropy."""
        out = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        own = self.odds(out.logits.float()).gather(1, inputs["axis"][:, None]).squeeze(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(own, inputs["unsafe"])
        return (loss, out) if return_outputs else loss


def device_in_use() -> str:
    """Where classifiers are trained."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def train(
    model: Any,
    pad: int,
    rows: Sequence[Row],
    odds: Odds,
    training: LocalTraining,
    lora: LoraConfig,
    advance: Advance,
) -> tuple[Any, TrainReport]:
    """Train LoRA matrices and the head on ``rows`` and merge them.

    Args:
        model: In float32; used up.
        pad: The padding token.
        rows: Any order; the trainer draws from them by its seed.
        odds: What is trained.
        training: Steps, batch, learning rate and seed.
        lora: From ``lora_config``.
        advance: Called with 1 after each step.

    Returns:
        The merged model, and what was seen.

    Raises:
        DataError: the weights are no longer finite.
    """
    device = device_in_use()
    with torch.random.fork_rng(), tempfile.TemporaryDirectory(prefix="safefed-") as folder, old_names():
        torch.manual_seed(training.seed)
        settings = trainer_arguments(
            training, folder, on_cpu=device == "cpu", bf16=device == "cuda" and has_bfloat16(device)
        )
        adapted: Any = get_peft_model(model.to(device), lora)
        trainer = AxisTrainer(
            model=adapted,
            args=TrainingArguments(**settings, remove_unused_columns=False),
            train_dataset=Dataset.from_list(list(rows)),
            data_collator=lambda batch: _collate(batch, pad),
        )
        trainer.odds = odds
        report = run_quietly(trainer, UNLIMITED, advance)
        try:
            merged = adapted.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise DataError(f"the training diverged ({error}); lower --learning-rate") from None
        return merged.to("cpu").eval(), report


def lora_config(lora: LoraSettings, new: Sequence[str]) -> LoraConfig:
    """LoRA for a classifier; modules with ``new`` weights are trained whole, and so is the head."""
    return peft_config(lora, "SEQ_CLS", modules_to_save=list(new) or None)


def _collate(batch: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in batch)
    ids = [row["input_ids"] + [pad] * (longest - len(row["input_ids"])) for row in batch]
    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "axis": torch.tensor([row["axis"] for row in batch]),
        "unsafe": torch.tensor([row["unsafe"] for row in batch]),
    }
