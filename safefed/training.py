"""Training an adapter on one node with TRL; knows nothing of federation.

Sources: LoRA, arXiv 2106.09685; the trainer is TRL's SFTTrainer, its rows tokenised here once and reused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from safefed.adapter import Adapter, adapted, old_names, take_state
from safefed.errors import DataError
from safefed.escape import control_tokens, neutralise
from safefed.models import LoadedModel
from safefed.progress import Advance
from safefed.records import Sample

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """What one node does in one go: ``steps`` optimizer steps at a constant ``learning_rate``."""

    steps: int
    batch_size: int
    learning_rate: float
    max_length: int
    seed: int
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """What training may spend beside its steps; it ends after the step that reaches a limit.

    Attributes:
        tokens: Tokens read, prompts included, padding not.
        seconds: Wall time; how many steps that is depends on the machine, so runs no longer repeat exactly.
    """

    tokens: int | None = None
    seconds: float | None = None


UNLIMITED = Budget()


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What training saw.

    Attributes:
        n_rows: Rows (or pairs) it drew from.
        steps: Optimizer steps it took.
        tokens: Tokens it read, padding not counted.
        first_loss: At the first step, in nats: per answer token (SFT, distillation), per pair (DPO).
        last_loss: At the last step.
    """

    n_rows: int
    steps: int
    tokens: int
    first_loss: float
    last_loss: float


def encode(
    sample: Sample, tokenizer: PreTrainedTokenizerBase, control: Sequence[str], max_length: int
) -> dict[str, list[int]] | None:
    """One row, ``input_ids`` and ``labels`` of equal length, cut at ``max_length``; None if its prompt fills that.

    Args:
        sample: Its final answer is what is learnt.
        tokenizer: With a chat template.
        control: The template's control tokens, broken inside content.
        max_length: In tokens.

    Raises:
        DataError: the chat template cannot be masked.
    """
    turns = [{"role": m.role, "content": neutralise(m.content, control)} for m in sample.messages]
    context = turns[:-1]

    def ids_of(conversation: list[dict[str, str]], answered: bool) -> list[int]:
        ids = tokenizer.apply_chat_template(
            conversation,
            add_generation_prompt=not answered,
            return_dict=False,
            tokenizer_kwargs={"verbose": False},  # rows longer than the model's context are cut or left out below
        )
        return cast(list[int], ids)

    prompt, ids = ids_of(context, answered=False), ids_of(turns, answered=True)
    if ids[: len(prompt)] != prompt:
        raise DataError(
            "the chat template writes a prompt differently once it is answered; safefed cannot mask its loss. "
            "Use a template whose generation prompt is a prefix of the answered conversation"
        )
    if len(prompt) >= max_length:
        return None
    ids = ids[:max_length]
    return {"input_ids": ids, "labels": [IGNORED] * len(prompt) + ids[len(prompt) :]}


def tokenize(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Rows for the trainer: only the final answer carries loss; long answers are cut at ``max_length`` tokens.

    Control tokens of the chat template inside message content are broken (``safefed.escape``).

    A row whose prompt alone fills ``max_length`` has nothing to learn from and is left out (the report's ``n_rows``
    counts what remains).

    Raises:
        DataError: no row remains, or the chat template cannot be masked.
    """
    from datasets import Dataset

    control = control_tokens(tokenizer)
    encoded = (encode(sample, tokenizer, control, max_length) for sample in samples if sample.response)
    rows = [row for row in encoded if row is not None]
    if not rows:
        raise DataError(
            f"none of {len(samples)} rows can be trained on within max_length={max_length} tokens; raise it"
        )
    return Dataset.from_list(rows)


def trainer_arguments(training: LocalTraining, folder: str, *, on_cpu: bool, bf16: bool) -> dict[str, Any]:
    """What any transformers Trainer is told, explicitly: nothing is left to its defaults that changes the result.

    Args:
        training: Steps, batch, learning rate and seed.
        folder: For what the trainer insists on writing.
        on_cpu: Whether the model is on a CPU.
        bf16: Whether it computes in bfloat16.
    """
    return {
        "output_dir": folder,
        "max_steps": training.steps,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation,
        "gradient_checkpointing": training.gradient_checkpointing,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "seed": training.seed,
        "data_seed": training.seed,
        "use_cpu": on_cpu,
        "bf16": bf16,
        "fp16": False,
        "dataloader_pin_memory": not on_cpu,
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "include_num_input_tokens_seen": "non_padding",
        "disable_tqdm": True,
    }


def _trainer(
    model: PeftModel, rows: Dataset, loaded: LoadedModel, common: dict[str, Any], teacher: Literal["rows", "base"]
) -> Any:
    from trl import SFTConfig

    from safefed.trainer import DistillationTrainer, Trainer

    settings = SFTConfig(**common, packing=False, dataset_kwargs={"skip_prepare_dataset": True})
    make = DistillationTrainer if teacher == "base" else Trainer
    return make(model=model, args=settings, train_dataset=rows, processing_class=loaded.tokenizer)


def fitted(
    loaded: LoadedModel,
    adapter: Adapter,
    training: LocalTraining,
    make: Callable[[PeftModel, dict[str, Any]], Any],
    budget: Budget,
    advance: Advance,
) -> tuple[Adapter, TrainReport]:
    """``adapter`` after one of TRL's trainers, made by ``make`` of the model and the settings all of them share."""
    import torch

    from safefed.trainer import run_quietly

    on_cpu, bf16 = loaded.model.device.type == "cpu", loaded.model.dtype == torch.bfloat16
    with adapted(loaded, adapter) as model, tempfile.TemporaryDirectory(prefix="safefed-") as folder, old_names():
        common = {**trainer_arguments(training, folder, on_cpu=on_cpu, bf16=bf16), "max_length": None}
        report = run_quietly(make(model, common), budget, advance)
        return Adapter(adapter.lora, take_state(model)), report


def train_adapter(
    loaded: LoadedModel,
    adapter: Adapter,
    rows: Dataset,
    training: LocalTraining,
    budget: Budget = UNLIMITED,
    advance: Advance = lambda _steps: None,
    teacher: Literal["rows", "base"] = "rows",
) -> tuple[Adapter, TrainReport]:
    """Supervised fine-tuning of ``adapter`` on tokenised ``rows``; the base model is left as it was.

    Args:
        loaded: The base model.
        adapter: Where to start from; not changed.
        rows: From ``tokenize``.
        training: Steps, batch, learning rate and seed. Equal arguments give equal bytes on one machine with one
            thread count.
        budget: What may end it before its last step.
        advance: Called with 1 after each step.
        teacher: Whose tokens are learnt: those of the rows, or at each place in their answers what the base model would
            say there, its whole distribution (knowledge distillation).

    Returns:
        The trained adapter and what was seen.

    Raises:
        DataError: the adapter does not fit the model.
    """

    def make(model: PeftModel, common: dict[str, Any]) -> Any:
        return _trainer(model, rows, loaded, common, teacher)

    return fitted(loaded, adapter, training, make, budget, advance)
