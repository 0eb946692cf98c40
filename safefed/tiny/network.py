"""The embedded model's sizes, its losses and its optimiser, and how it is written to disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safefed.tiny.tokens import CONTEXT, END, PAD, token_id

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from safefed.tiny.batches import Batch


@dataclass(frozen=True, slots=True)
class Recipe:
    """Layout (a model type of transformers), sizes and optimisation.

    ``tokens`` is the padded size of a batch, ``scale`` multiplies the written corpus.
    """

    layout: str = "llama"
    vocabulary: int = 8192
    hidden: int = 192
    layers: int = 6
    heads: int = 4
    inner: int = 512
    max_length: int = 512
    tokens: int = 1536
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.1
    seed: int = 0
    scale: float = 1.0
    save_every: int = 50


RECIPES = {
    "tiny": Recipe(),
    "second": Recipe(layout="gpt_neox", vocabulary=4096, hidden=128, layers=4, inner=512),
}
"""The shipped model, and a smaller one of another family that the tests use."""


def new_model(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, vectors: torch.Tensor | None = None
) -> PreTrainedModel:
    """A fresh model with tied embeddings: noise, and half as much of it on top of ``vectors`` (unit rows or zeros)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(recipe.seed)
    config = AutoConfig.for_model(
        recipe.layout,
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    if vectors is not None:
        known = vectors.norm(dim=-1) > 0
        weight: torch.Tensor = model.get_input_embeddings().weight.data  # type: ignore[assignment]  # Module's attribute
        scale = config.initializer_range * recipe.hidden**0.5  # the length of a random row
        weight[known] = weight[known] / 2 + vectors[known] * scale
    return model


class Teacher(NamedTuple):
    """Meanings of requests, (requests, dimensions), and the map from a hidden state to them that the training needs."""

    meanings: torch.Tensor
    head: torch.nn.Linear


def teacher_of(recipe: Recipe, meanings: torch.Tensor) -> Teacher:
    """``meanings`` with a fresh head."""
    import torch

    return Teacher(meanings, torch.nn.Linear(recipe.hidden, meanings.shape[1], bias=False))


def hidden_states(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each token, (rows, longest, hidden): the last ones, and those two thirds up the layers."""
    # Right padding under a causal mask cannot reach the real tokens, so no attention mask is needed.
    states = model.base_model(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
    return states.last_hidden_state, states.hidden_states[2 * model.config.num_hidden_layers // 3]


def answer_loss(model: PreTrainedModel, last: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the tokens to learn, zero without any."""
    import torch

    wanted = batch.learn[:, 1:]
    # The vocabulary is only scored where a loss is taken.
    scores = model.get_output_embeddings()(last[:, :-1][wanted])
    told = batch.ids[:, 1:][wanted]
    return torch.nn.functional.cross_entropy(scores, told, reduction="sum") / max(1, len(told))


def meaning_loss(teacher: Teacher, middle: torch.Tensor, batch: Batch) -> torch.Tensor:
    """How far the model is from what the encoder makes of the requests, zero where no row has a meaning.

    1 - cosine between the meaning and the ``middle`` state where the answer begins (knowledge distillation, arXiv
    1503.02531).
    """
    import torch

    known = batch.meanings >= 0
    if not known.any():
        return middle.new_zeros(())
    understood = teacher.head(middle[known, batch.asked[known]])
    wanted = teacher.meanings[batch.meanings[known]].float()
    return 1 - torch.nn.functional.cosine_similarity(understood, wanted).mean()


def learning_rate(recipe: Recipe, step: int, done: float) -> float:
    """Linear warm-up, constant for the first half of the run (``done`` = its share), then linear to 2 % of the peak."""
    return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup, 0.02 + 1.96 * max(0.0, 1 - done))


def average_gradients(model: torch.nn.Module) -> None:
    """Replace every gradient by its mean over the processes of the run; alone, nothing changes."""
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return
    learnt = list(model.parameters())
    # A head has none where no row of this process's batch has a meaning.
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for p, part in zip(learnt, flat.split([p.numel() for p in learnt]), strict=True):
        p.grad = part.view_as(p)


def optimizer_for(model: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; norms are not decayed."""
    import torch

    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write config, bfloat16 safetensors, generation config, tokenizer and chat template."""
    import copy

    from transformers import GenerationConfig

    half = copy.deepcopy(model)
    half.bfloat16()
    half.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id
    )
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)
