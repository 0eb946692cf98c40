"""How filters that are trained step by step are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from safefed.config import Count, LoraSettings, Positive, Section, Seed
from safefed.training import LocalTraining


class FitTraining(Section):
    """Training of the kinds "classifier" and "guard"; what is None is the kind's own (``DEFAULTS``).

    Attributes:
        epochs: Times that the rows are gone through, once both labels are balanced.
        steps: Optimizer steps, instead of ``epochs``.
        batch_size: Rows of a step.
        learning_rate: The same throughout.
        max_length: Tokens of a row; see the kind.
        rank: Of the LoRA matrices; alpha is twice that.
    """

    epochs: Positive | None = None
    steps: Count | None = None
    batch_size: Count | None = None
    learning_rate: Positive | None = None
    max_length: Annotated[int, Field(ge=16)] | None = None
    rank: Count | None = None


DEFAULTS: Mapping[str, FitTraining] = {
    "classifier": FitTraining(epochs=5.0, batch_size=16, learning_rate=5e-4, max_length=256, rank=16),
    "guard": FitTraining(epochs=3.0, batch_size=8, learning_rate=1e-4, max_length=2048, rank=16),
}


class Plan(Section):
    """Settings with every value filled in."""

    epochs: Positive
    steps: Count | None
    batch_size: Count
    learning_rate: Positive
    max_length: Count
    rank: Count
    seed: Seed

    @property
    def lora(self) -> LoraSettings:
        """The adapter's settings."""
        return LoraSettings(rank=self.rank, alpha=2 * self.rank)

    def local(self, n: int) -> LocalTraining:
        """What the trainer does with ``n`` rows."""
        return LocalTraining(
            steps=self.steps or math.ceil(self.epochs * n / self.batch_size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_length=self.max_length,
            seed=self.seed,
        )


def machine(device: str) -> dict[str, Any]:
    """What of the machine decides the weights."""
    import torch

    return {"device": device, "threads": torch.get_num_threads()}


def make_plan(kind: str, wanted: FitTraining, seed: int) -> Plan:
    """``wanted`` over the defaults of ``kind``."""
    values = DEFAULTS[kind].model_dump() | wanted.model_dump(exclude_none=True)
    return Plan(**values, seed=seed)
