"""TRL's trainer with a loss that is cheap without a GPU, and how any trainer is run here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class _AnswersAlone:
    """For trainers of TRL: on a CPU, ``answer_loss``, which scores the vocabulary at the answers' tokens alone.

    Where there is no Triton, TRL scores it at every position: a half of the time of a small model in SFT, two thirds in
    DPO. The loss is the same.
    """

    aux_loss_enabled: bool

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """See ``answer_loss``; TRL's own elsewhere."""
        if model.device.type != "cpu" or return_outputs or self.aux_loss_enabled:
            return super().compute_loss(  # type: ignore[misc]  # TRL's
                model, inputs, return_outputs, num_items_in_batch
            )
        return self.answer_loss(model, inputs, num_items_in_batch)

    def answer_loss(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        """The loss of one batch."""
        raise NotImplementedError


class Trainer(_AnswersAlone, SFTTrainer):
    """``SFTTrainer`` with a loss that is cheap on a CPU."""

    def answer_loss(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        """Cross-entropy summed over the tokens to learn, over ``num_items_in_batch`` (all of them in this step)."""
        wanted = inputs["labels"][:, 1:] != IGNORED
        return _mean(_cross_entropy(model, inputs, wanted, reduction="sum"), wanted, num_items_in_batch)


class DistillationTrainer(SFTTrainer):
    """``SFTTrainer`` that learns the base model's distribution at the answers' tokens, not the one token that is there.

    The model without its adapter is the teacher (knowledge distillation, arXiv 1503.02531, at temperature 1 on whole
    answers, arXiv 1606.07947); TRL's own distillation wants a second model in memory.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,  # noqa: ARG002 - nothing is evaluated while training
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """Divergence of the model from the base, KL(base || model), in nats a token, mean over the answers' tokens."""
        wanted = inputs["labels"][:, 1:] != IGNORED
        with _without_adapter(model):
            base = _logits(model, inputs, wanted).log_softmax(-1)
        own = _logits(model, inputs, wanted).log_softmax(-1)
        divergence = torch.nn.functional.kl_div(own, base, reduction="sum", log_target=True)
        return _mean(divergence, wanted, num_items_in_batch)


@contextmanager
def _without_adapter(model: Any) -> Iterator[None]:
    """The base model as it answers: no adapter, no dropout, no gradient."""
    training = model.training
    model.eval()
    with torch.no_grad(), model.disable_adapter():
        yield
    model.train(training)


class PreferenceTrainer(_AnswersAlone, DPOTrainer):
    """``DPOTrainer`` for rows that are tokenised already, with a loss that is cheap on a CPU."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def answer_loss(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:  # noqa: ARG002 - a mean
        """-log sigmoid(beta x (how much more than the reference chosen is preferred to rejected)), mean over pairs."""
        with torch.no_grad(), use_adapter(model, adapter_name="ref"):
            reference = _log_odds(model, inputs)
        return -torch.nn.functional.logsigmoid(self.beta * (_log_odds(model, inputs) - reference)).mean()


def _log_odds(model: Any, inputs: Any) -> torch.Tensor:
    """Log odds of chosen against rejected of each pair, shape (pairs,); the batch is all chosen, then all rejected."""
    wanted = inputs["completion_mask"][:, 1:].bool()
    found = -_cross_entropy(model, inputs, wanted, reduction="none")
    rows = wanted.nonzero()[:, 0]
    chosen, rejected = found.new_zeros(len(wanted)).index_add(0, rows, found).chunk(2)
    return chosen - rejected


def _cross_entropy(model: Any, inputs: Any, wanted: torch.Tensor, *, reduction: str) -> torch.Tensor:
    """Of the ``wanted`` next tokens, a mask (rows, columns - 1)."""
    tokens = inputs["input_ids"][:, 1:][wanted]
    return torch.nn.functional.cross_entropy(_logits(model, inputs, wanted), tokens, reduction=reduction)


def _logits(model: Any, inputs: Any, wanted: torch.Tensor) -> torch.Tensor:
    """For the ``wanted`` next tokens alone, shape (tokens, vocabulary)."""
    kept = wanted.any(0).nonzero().squeeze(1)
    given = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    logits: torch.Tensor = model(**given, use_cache=False, logits_to_keep=kept).logits
    return logits[wanted[:, kept]].float()


def _mean(total: torch.Tensor, wanted: torch.Tensor, of_the_step: Any) -> torch.Tensor:
    """Over the wanted tokens: those of the whole optimizer step, where the trainer counts them."""
    count: torch.Tensor = wanted.sum() if of_the_step is None else of_the_step
    return total / count
