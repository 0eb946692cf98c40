"""The model, its training by clients, its alignment by the server, its measurement."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from safefed.config.data import SourceConfig
from safefed.config.sections import Count, Positive, Section, Share

DType = Literal["auto", "float32", "bfloat16", "float16"]


class ModelConfig(Section):
    """The base model: "tiny" (embedded), a folder, or a hub id with an optional pinned revision."""

    name: str = "tiny"
    revision: str | None = None
    dtype: DType = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class LoraSettings(Section):
    """The adapter, in peft's terms."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    targets: list[str] | Literal["all-linear"] = "all-linear"


class TrainConfig(Section):
    """Federated rounds and what a client does in one of them; the defaults suit the embedded model and data.

    ``learning_rate`` is for clients that fine-tune on rows, ``dpo_learning_rate`` and ``beta`` are for those that train
    on preferences; ``schedule`` holds for both.
    """

    rounds: Count = 3
    clients_per_round: Count | None = None
    steps: Count = 20
    batch_size: Count = 8
    gradient_accumulation: Count = 1
    learning_rate: Positive = 2e-3
    dpo_learning_rate: Positive = 2e-4
    beta: Positive = 0.1
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    max_length: Count = 256
    gradient_checkpointing: bool = False
    lora: LoraSettings = LoraSettings()
    min_clients: Count = 1
    max_examples: Count = 1_000_000
    timeout_s: Positive = 3600.0
    wait_s: Positive = 120.0


class AlignConfig(Section):
    """Server-side alignment of the global model: distillation from the base model, supervised fine-tuning, preferences.

    It works with ``n_prompts`` red-team prompts (``prompts``; [] = the embedded set), ``n_helpful`` harmless ones
    (``helpful``; best are look-alikes of harmful ones, [] = the embedded set, half of which are), and ``n_contrasts``
    of 300 written pairs, a harmful prompt and a harmless one as near to it as can be. A harmless prompt may bring an
    answer, for where both models decline.

    ``distil_steps`` bring the global model back to the base model where that is right: where it declines a red-team
    prompt or helps with a harmless one, the global model learns its whole distribution. To be better than the base
    there are the other two, for which the global model answers every prompt and its red-team answers that do not
    decline are critiqued and revised by ``critic``: the base model, the global model itself, or the endpoint of
    ``revise``. ``sft_steps`` are of supervised fine-tuning on safe answers, ``helpful_share`` of the rows being
    helpful answers; ``dpo_steps`` are of preference training on the global model's mistakes, revisions over the
    answers they replaced and help over needless refusals, and on up to ``n_anchors`` prompts of each kind that it
    gets right: its refusal over what it says after ``prefill``, its help over a refusal of the constitution. They
    follow each other in this order; each may be 0, not all. ``tokens`` and ``seconds`` bound each of them.
    Alignment runs once after the last round, or after every ``every``-th round.
    """

    prompts: list[SourceConfig] = []
    n_prompts: Count = 128
    helpful: list[SourceConfig] = []
    n_helpful: Count = 256
    n_contrasts: Annotated[int, Field(ge=0, le=300)] = 300
    every: Count | None = None
    critic: Literal["base", "self", "endpoint"] = "base"
    helpful_share: Annotated[float, Field(ge=0, lt=1)] = 0.75
    n_anchors: Annotated[int, Field(ge=0)] = 64
    prefill: Annotated[str, Field(min_length=1)] = "Sure, here is"
    distil_steps: Annotated[int, Field(ge=0)] = 40
    sft_steps: Annotated[int, Field(ge=0)] = 0
    dpo_steps: Annotated[int, Field(ge=0)] = 0
    batch_size: Count = 8
    distil_learning_rate: Positive = 1e-3
    sft_learning_rate: Positive = 5e-4
    dpo_learning_rate: Positive = 2e-4
    beta: Positive = 0.1
    tokens: Count | None = None
    seconds: Positive | None = None

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if not (self.distil_steps or self.sft_steps or self.dpo_steps):
            raise ValueError("distil_steps, sft_steps and dpo_steps are all 0, so nothing would be learnt; set one")
        return self


class BenchmarkConfig(Section):
    """Benchmarks, judges and greedy decoding limits."""

    suites: Annotated[list[str], Field(min_length=1)] = ["mini"]
    judges: Annotated[list[str], Field(min_length=1)] = ["refusal", "refusal-anywhere", "filter:linear"]
    paths: dict[str, str] = {}
    max_new_tokens: Count = 64
    batch_size: Count = 32
    limit: Count | None = None
