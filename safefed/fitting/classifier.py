"""Fitting a sequence classifier: LoRA in all linear layers, the head trained whole, all of it merged at the end.

What is trained is what the filter scores: the odds of its axis. A row's label trains the axis "response" with the
answer, or "prompt" with the request where there is no answer (or the model's labels know no such axis). The saved label
map keeps the axes that were trained. Sources: LoRA, arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.errors import ConfigError
from safefed.filters.classifier import ClassifierFilter, read_classifier
from safefed.filters.encoder_batches import split_dtype
from safefed.filters.label_map import FILE, LabelMap, Meaning, Source, find
from safefed.filters.tokens import special_tokens, token_ids, token_limit
from safefed.filters.windows import exchanges
from safefed.fitting.data import balanced
from safefed.fitting.settings import Plan, machine
from safefed.progress import Progress
from safefed.records import Sample
from safefed.store import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from safefed.fitting.axis_trainer import Row

AXES = ("response", "prompt")


class ClassifierFitter:
    """See ``Fitter``.

    A model with a label map goes on from its own head. One without, such as a plain encoder, gets a new head with one
    output per axis; ``judge`` is then that untrained head, near chance.

    Args:
        argument: As for the filter.
        samples: What it will be fitted on.
        plan: ``max_length`` is that of the filter's windows; of a longer text the first one is trained on.
        scratch: An empty folder.

    Raises:
        ConfigError: no model, or a label map without an axis that the rows can train.
        DataError: the model cannot be read.
    """

    def __init__(self, argument: str, samples: Sequence[Sample], plan: Plan, scratch: Path) -> None:
        if not argument:
            raise ConfigError("classifier needs a model: classifier:FOLDER, classifier:OWNER/NAME or :PROFILE.json")
        source = find(split_dtype(argument)[0])
        known = _axes(source.labels) if source.labels else AXES
        self._axes = [axis for axis in known if any(axis_of(sample, known) == axis for sample in samples)]
        if not self._axes:
            raise ConfigError(
                f"{source.file} maps no label to an axis that the rows have a text for; map one to response"
            )
        self._new: list[str] = []
        self._plan, self._source = plan, source
        if source.labels is None:
            self._source, self._new = _with_new_head(source, self._axes, plan.seed, scratch)
        self.judge = ClassifierFilter(argument if source.labels else str(scratch))

    def fit(self, samples: Sequence[Sample], folder: Path, progress: Progress) -> dict[str, Any]:
        """See ``Fitter``."""
        from safefed.fitting.axis_trainer import Odds, device_in_use, lora_config, train

        model, tokenizer, _ = read_classifier(self._source)
        window = min(self._plan.max_length, token_limit(model, tokenizer))
        labels = _labels(self._source.labels, self._axes, window)
        rows = _rows(samples, tokenizer, self._axes, window)
        repeated = balanced(rows, [bool(row["unsafe"]) for row in rows])
        training = self._plan.local(len(repeated))
        with progress.task(f"train {len(rows)} rows", training.steps) as advance:
            merged, report = train(
                model,
                tokenizer.pad_token_id,
                repeated,
                Odds([_columns(model, labels, axis) for axis in self._axes], labels.activation == "softmax"),
                training,
                lora_config(self._plan.lora, self._new),
                advance,
            )
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _write_labels(labels, folder)
        return {
            "axes": self._axes,
            "head": "new" if self._new else "the model's",
            "window": window,
            "n_rows": len(rows),
            "left_out": {"no-text-on-a-trained-axis": len(samples) - len(rows)},
            "n_balanced": len(repeated),
            "steps": training.steps,
            "first_loss": report.first_loss,
            "last_loss": report.last_loss,
            **machine(device_in_use()),
        }


def axis_of(sample: Sample, known: Sequence[str]) -> str | None:
    """The axis of ``known`` that a row's label trains: the answer's if there is one, else the request's."""
    texts = exchanges(sample)[-1]  # of several turns the last exchange is all of them together
    return next((axis for axis in AXES if axis in known and axis in texts), None)


def _axes(labels: LabelMap) -> list[str]:
    found = {axis for meaning in labels.labels.values() for axis in meaning.axes}
    return [axis for axis in AXES if axis in found]


def _with_new_head(source: Source, axes: Sequence[str], seed: int, folder: Path) -> tuple[Source, list[str]]:
    """The model in ``folder`` with one output per axis, and the modules of it that hold new weights."""
    import torch

    names = dict(enumerate(f"unsafe-{axis}" for axis in axes))
    with torch.random.fork_rng(), _unsurprised():
        torch.manual_seed(seed)
        model, tokenizer, lacking = read_classifier(
            source,
            id2label=names,
            label2id={name: place for place, name in names.items()},
            problem_type="multi_label_classification",
            ignore_mismatched_sizes=True,
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_labels(_labels(None, axes, None), folder)
    return find(str(folder)), sorted({weight.rpartition(".")[0] for weight in lacking})


@contextmanager
def _unsurprised() -> Iterator[None]:
    """Hide transformers' report that the head is new: it is meant to be."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _labels(known: LabelMap | None, axes: Sequence[str], window: int | None) -> LabelMap:
    """The label map of a fitted model: of those labels that it knows, what concerns ``axes``."""
    if known is None:
        meanings = {f"unsafe-{axis}": Meaning.model_validate({"axes": [axis]}) for axis in axes}
        return LabelMap(labels=meanings, activation="sigmoid", max_tokens=window)
    kept = {name: [axis for axis in meaning.axes if axis in axes] for name, meaning in known.labels.items()}
    labels = {name: Meaning(axes=kept[name], category=known.labels[name].category) for name in kept if kept[name]}
    return LabelMap(labels=labels, activation=known.activation, max_tokens=window)


def _write_labels(labels: LabelMap, folder: Path) -> None:
    write_json(folder / FILE, labels.model_dump(mode="json", exclude_none=True, exclude={"model"}))


def _columns(model: Any, labels: LabelMap, axis: str) -> list[int]:
    """The model's outputs that count on ``axis``."""
    names = model.config.id2label
    return [i for i in sorted(names) if names[i] in labels.labels and axis in labels.labels[names[i]].axes]


def _rows(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerBase, axes: Sequence[str], window: int) -> list[Row]:
    """The rows to train on; of a text over ``window`` tokens its first ones."""
    found = [(sample, axis) for sample in samples if (axis := axis_of(sample, axes)) is not None]
    before, after = special_tokens(tokenizer)
    size = window - len(before) - len(after)
    texts = token_ids(tokenizer, [exchanges(sample)[-1][axis][0] for sample, axis in found])
    return [
        {
            "input_ids": [*before, *ids[:size].tolist(), *after],
            "axis": axes.index(axis),
            "unsafe": float(bool(sample.label)),
        }
        for (sample, axis), ids in zip(found, texts, strict=True)
    ]
