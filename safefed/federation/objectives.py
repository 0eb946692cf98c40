"""What a client trains for: supervised fine-tuning on its rows ("sft") or preferences on its pairs ("dpo")."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safefed.config import ModelConfig, NodeConfig, Objective
from safefed.dataset import DATA, PAIRS, load_dataset_pairs, load_dataset_rows
from safefed.errors import DataError
from safefed.federation.guard import EXAMPLES_KEY, LOSS_KEYS
from safefed.federation.plan import Hello, Job
from safefed.store import sha256_file

if TYPE_CHECKING:
    from datasets import Dataset
    from flwr.app import MetricRecord

    from safefed.adapter import Adapter
    from safefed.training import TrainReport

_LOSS_PREFIX: Mapping[Objective, str] = {"sft": "", "dpo": "dpo-"}


def trained_on(folder: Path, objective: Objective) -> Path:
    """The file of a screened data set that ``objective`` trains on."""
    return folder / (PAIRS if objective == "dpo" else DATA)


@functools.lru_cache(maxsize=64)
def _tokenized(file: Path, digest: str, model: ModelConfig, max_length: int) -> Dataset:  # noqa: ARG001 - cache key
    from safefed.models import load_model
    from safefed.preferences import tokenize_pairs
    from safefed.training import tokenize

    tokenizer = load_model(model).tokenizer
    if file.name == PAIRS:
        return tokenize_pairs(load_dataset_pairs(file.parent), tokenizer, max_length)
    return tokenize(load_dataset_rows(file.parent), tokenizer, max_length)


def train_locally(node: NodeConfig, job: Job, folder: Path, start: Adapter) -> tuple[Adapter, TrainReport]:
    """One round of one client on its screened data set, from the round's global adapter, DPO's reference.

    Raises:
        DataError: nothing can be trained on, or the adapter does not fit the model.
        IntegrityError: a file of the data set changed.
    """
    from safefed.models import load_model
    from safefed.preferences import train_preferences
    from safefed.training import train_adapter

    loaded, training = load_model(node.model), job.local_training(node.objective)
    file = trained_on(folder, node.objective)
    rows = _tokenized(file, sha256_file(file), node.model, job.max_length)
    if node.objective == "dpo":
        return train_preferences(loaded, start, rows, training, node.beta or job.beta)
    return train_adapter(loaded, start, rows, training)


def require_pairs(hellos: Mapping[str, Hello]) -> None:
    """Raises DataError, which says where pairs come from, if a client that trains on pairs has none."""
    without = [name for name, hello in sorted(hellos.items()) if hello.objective == "dpo" and not hello.pairs]
    if without:
        raise DataError(
            f'{", ".join(without)}: objective = "dpo", and not one preference pair; pairs come from one-turn rows of '
            "preference and hh sources whose chosen answer passes the screen, and from rows that were revised "
            '(screening = "revise" with revise.keep_originals = true). Give it such rows, or objective = "sft"'
        )


def mean_losses(replies: Mapping[str, MetricRecord], hellos: Mapping[str, Hello]) -> dict[str, float]:
    """The accepted clients' losses, weighted by their examples, for each objective apart: their units differ.

    Args:
        replies: Client name -> its metrics.
        hellos: Client name -> its answer, which says its objective.

    Returns:
        ``first-loss`` and ``last-loss`` in nats per answer token; ``dpo-first-loss`` and ``dpo-last-loss`` in nats per
        pair; without the keys of an objective that no client had.
    """
    means = {}
    for objective, prefix in _LOSS_PREFIX.items():
        found = [metrics for name, metrics in sorted(replies.items()) if hellos[name].objective == objective]
        weights = [float(metrics[EXAMPLES_KEY]) for metrics in found]  # type: ignore[arg-type]
        for key in LOSS_KEYS if found else ():
            losses = [float(metrics[key]) for metrics in found]  # type: ignore[arg-type]
            means[prefix + key] = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    return means
