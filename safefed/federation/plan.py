"""What the server and its clients tell each other: closed schemas that travel as JSON text."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from safefed import __version__
from safefed.align import AlignSettings
from safefed.config import (
    AnySection,
    ClientName,
    Count,
    LoraSettings,
    ModelConfig,
    Objective,
    Positive,
    ScreenConfig,
    Screening,
    Section,
    Share,
    TrainConfig,
    parse,
)
from safefed.records import content_hash
from safefed.training import LocalTraining

PLAN_KEY = "plan"
"""The run-config key of the Flower app that carries a Plan."""

JOB_KEY = "job"
"""The key, in each message's ConfigRecord, that carries a Job."""

Name = Annotated[str, Field(max_length=80)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Plan(Section):
    """Everything that decides one federated training run; the operator gives it to the server.

    With ``align`` the server aligns the global model after every ``align.align.every``-th round. ``out`` is a folder on
    the server. ``clients`` is how many clients must be there before the first round. ``data``
    is a hash of the clients' data where they live on this machine, "" where each node has its own.
    """

    version: Name = __version__
    name: Name
    arm: Name
    seed: int
    clients: Count
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    screening: Screening = "none"
    screen: ScreenConfig = ScreenConfig()
    threads: Count = 1
    align: AlignSettings | None = None
    data: str = ""
    out: str
    resume: bool = False

    @property
    def run_key(self) -> str:
        """Hash of what decides the result: not where it is written, whether it resumes, or which arm it is for."""
        decisive = self.model_dump(mode="json", exclude={"out", "resume", "arm"})
        return content_hash(decisive | {"align": self.align.decisive() if self.align else None})

    def aligns_after(self, server_round: int) -> bool:
        """Whether the global model is aligned after this round."""
        every = self.align.align.every if self.align else None
        return every is not None and server_round % every == 0


class Ask(Section):
    """What the server asks of a client before training: the identity of the base model and the screen it wants."""

    version: Name = __version__
    fingerprint: dict[str, Digest]
    screening: Screening
    threshold: Share | None


class Job(Ask):
    """One client's work in one round, whatever it trains for: that is the client's own choice, and no key here."""

    run: Digest
    round: Count
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    steps: Count
    batch_size: Count
    gradient_accumulation: Count
    gradient_checkpointing: bool
    learning_rate: Positive
    dpo_learning_rate: Positive
    beta: Positive
    max_length: Count
    lora: LoraSettings

    def local_training(self, objective: Objective) -> LocalTraining:
        """The part that the trainer for ``objective`` needs."""
        return LocalTraining(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.dpo_learning_rate if objective == "dpo" else self.learning_rate,
            max_length=self.max_length,
            seed=self.seed,
            gradient_accumulation=self.gradient_accumulation,
            gradient_checkpointing=self.gradient_checkpointing,
        )


class Hello(Section):
    """A client's answer to Ask: who it is and what it will train on; counts and hashes, never text.

    ``dataset`` is the hash of what its ``objective`` trains on: the rows, or the preference ``pairs``.
    ``policy_kept`` of the kept rows were flagged, and kept because the client's own policy says so.
    """

    name: ClientName
    dataset: Digest
    screening: Screening
    n_in: Annotated[int, Field(ge=0)]
    kept: Annotated[int, Field(ge=0)]
    revised: Annotated[int, Field(ge=0)]
    dropped: Annotated[int, Field(ge=0)]
    errored: Annotated[int, Field(ge=0)]
    policy_kept: Annotated[int, Field(ge=0)] = 0
    objective: Objective = "sft"
    pairs: Annotated[int, Field(ge=0)] = 0


def from_text(schema: type[AnySection], text: object, where: str) -> AnySection:
    """Parse JSON text from the other side against a closed schema. Raises ConfigError."""
    try:
        tree = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        tree = None
    return parse(schema, tree if isinstance(tree, dict) else {}, where)


def derived_seed(*parts: object) -> int:
    """A 31-bit seed from any JSON values, the same on every machine."""
    return int(content_hash(list(parts))[:8], 16) & 0x7FFFFFFF
