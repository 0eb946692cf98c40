"""TRL's trainer with a loss that is cheap without a GPU, and how any trainer is run here."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers import Trainer as AnyTrainer
from trl import DPOTrainer, SFTTrainer
from trl.trainer.utils import use_adapter

from safefed.progress import Advance
from safefed.training import IGNORED, Budget, TrainReport


class _Steps(TrainerCallback):
    def __init__(self, budget: Budget, advance: Advance) -> None:
        self._budget, self._advance, self._started = budget, advance, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - the trainer's
        self._advance(1)
        tokens, seconds = self._budget.tokens, self._budget.seconds
        spent = tokens is not None and state.num_input_tokens_seen >= tokens
        late = seconds is not None and time.monotonic() - self._started >= seconds
        control.should_training_stop |= spent or late


def run_quietly(trainer: AnyTrainer, budget: Budget, advance: Advance) -> TrainReport:
    """Train, printing nothing; ``advance`` is told of each step. Returns what was seen."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_Steps(budget, advance))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    rows: Any = trainer.train_dataset
    state = trainer.state
    return TrainReport(len(rows), state.global_step, int(state.num_input_tokens_seen), losses[0], losses[-1])


class Trainer(SFTTrainer):
    """``SFTTrainer``; on a CPU the same loss is taken at the answers' tokens alone.

    Where there is no Triton, TRL scores the vocabulary at every position and gathers statistics that nobody reads here:
    half of the time of a small model.
    """

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy summed over the tokens to learn, over ``num_items_in_batch`` (all of them in this step)."""
        if model.device.type != "cpu" or return_outputs or self.aux_loss_enabled:
            return super().compute_loss(  # type: ignore[no-untyped-call]  # TRL's has no types
                model, inputs, return_outputs, num_items_in_batch
            )
        labels = inputs["labels"][:, 1:]
        wanted = labels != IGNORED
        kept = wanted.any(0).nonzero().squeeze(1)
        given = {key: value for key, value in inputs.items() if key != "labels"}
        logits = model(**given, use_cache=False, logits_to_keep=kept).logits[wanted[:, kept]]
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[wanted], reduction="sum")
        return loss / (wanted.sum() if num_items_in_batch is None else num_items_in_batch)


class PreferenceTrainer(DPOTrainer):
    """``DPOTrainer`` for rows that are tokenised already; on a CPU the same loss at the answers' tokens alone.

    Where there is no Triton, TRL scores the vocabulary at every position, tile by tile: two thirds of the time of a
    small model.
    """

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-log sigmoid(beta x (how much more than the reference chosen is preferred to rejected)), mean over pairs."""
        if model.device.type != "cpu" or return_outputs or self.aux_loss_enabled:
            return super().compute_loss(  # type: ignore[no-untyped-call]  # TRL's has no types
                model, inputs, return_outputs, num_items_in_batch
            )
        with torch.no_grad(), use_adapter(model, adapter_name="ref"):
            reference = _log_odds(model, inputs)
        return -torch.nn.functional.logsigmoid(self.beta * (_log_odds(model, inputs) - reference)).mean()


def _log_odds(model: Any, inputs: Any) -> torch.Tensor:
    """Log odds of chosen against rejected of each pair, shape (pairs,); the batch is all chosen, then all rejected."""
    wanted = inputs["completion_mask"][:, 1:].bool()
    kept = wanted.any(0).nonzero().squeeze(1)
    given = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    logits = model(**given, use_cache=False, logits_to_keep=kept).logits[wanted[:, kept]].float()
    tokens = inputs["input_ids"][:, 1:][wanted]
    found = -torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    rows = wanted.nonzero()[:, 0]
    chosen, rejected = found.new_zeros(len(wanted)).index_add(0, rows, found).chunk(2)
    return chosen - rejected
