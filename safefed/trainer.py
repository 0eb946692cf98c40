"""TRL's trainer with a loss that is cheap without a GPU."""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer

from safefed.training import IGNORED


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
