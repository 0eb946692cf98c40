"""TRL's trainer with a loss that is cheap without a GPU, and how any trainer is run here."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers import Trainer as AnyTrainer
from trl import SFTTrainer

from safefed.progress import Advance
from safefed.training import IGNORED


class _Steps(TrainerCallback):
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._advance(1)


def run_quietly(trainer: AnyTrainer, advance: Advance) -> list[float]:
    """Train, printing nothing; ``advance`` is told of each step. Returns the loss of every step."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_Steps(advance))
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


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
