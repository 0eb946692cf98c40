"""``classifier``: any Hugging Face sequence classifier whose label map says which of its labels mean unsafe.

It reads single texts, not pairs of prompt and answer. Only safetensors are loaded and no remote code is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safefed.errors import ConfigError, DataError
from safefed.filters.base import AXES
from safefed.filters.combine import distinct_texts, score_exchanges, to_verdict
from safefed.filters.encoder_batches import Encoder, split_dtype
from safefed.filters.label_map import LabelMap, Source, find, missing
from safefed.filters.windows import exchanges
from safefed.models import weights_hash
from safefed.records import Sample, Verdict, content_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Reading:
    """What the classifier says of one text: by axis, its score and the hazard category of its likeliest label."""

    scores: Mapping[str, float]
    categories: Mapping[str, str | None]


class ClassifierFilter:
    """Scores the axes that its label map names, and names the hazard of what it flags.

    A text within the model's token limit is one window of raw text; a longer one is read in overlapping windows to its
    end, and the worst counts: the highest score, for a refusal the lowest.

    Args:
        argument: A folder or hub id (``OWNER/NAME``, ``OWNER/NAME@REVISION``) with ``safefed-filter.json`` in it, or a
            ``LABELS.json`` that names its model. "#dtype=float32" or "#dtype=bfloat16" at the end overrides the choice
            by hardware.
        threshold: The unsafe probability from which a row is flagged; the label map's (0.5) by default.

    Raises:
        ConfigError: no label map (the message says what to write), or one that does not fit the model.
        DataError: the model cannot be found or read.
    """

    def __init__(self, argument: str | None = None, *, threshold: float | None = None) -> None:
        if not argument:
            raise ConfigError("classifier needs a model: classifier:FOLDER, classifier:OWNER/NAME or :LABELS.json")
        place, dtype = split_dtype(argument)
        source = find(place)
        self._names, self._map = _labels(source)
        model, tokenizer = _load(source)
        digest = weights_hash(model)
        self._encoder = Encoder(model, tokenizer, limit=self._map.max_tokens, dtype=dtype)
        self._columns = {axis: columns for axis in AXES if (columns := self._of(axis))}
        self.threshold = self._map.threshold if threshold is None else threshold
        self.name = f"classifier:{argument}"
        self.revision = content_hash(
            [
                digest,
                model.config.to_json_string(),
                tokenizer.backend_tokenizer.to_str(),
                self._map.model_dump(mode="json", exclude={"model", "revision", "threshold"}),
                [self._encoder.limit, self._encoder.dtype, self.threshold],
            ]
        )

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; equal texts are read once per call, whatever their axes."""
        axes = tuple(self._columns)
        texts = distinct_texts(samples, axes)
        known = dict(zip(texts, self._read(texts), strict=True))
        rows = score_exchanges(samples, lambda axis, asked: [known[text].scores[axis] for text in asked], axes)
        settings: dict[str, Any] = {"name": self.name, "revision": self.revision, "threshold": self.threshold}
        verdicts = [to_verdict(sample.id, scores, **settings) for sample, scores in zip(samples, rows, strict=True)]
        return [
            replace(verdict, category=_category(sample, verdict, known)) if verdict.action == "revise" else verdict
            for sample, verdict in zip(samples, verdicts, strict=True)
        ]

    def probabilities(self, axis: str, texts: Sequence[str]) -> list[float]:
        """The score of each text on one axis of the label map; NaN if the model gives one."""
        return [reading.scores[axis] for reading in self._read(texts)]

    def _of(self, axis: str) -> list[int]:
        """The model's outputs that count on ``axis``."""
        meanings = [self._map.labels.get(name) for name in self._names]
        return [i for i, meaning in enumerate(meanings) if meaning and axis in meaning.axes]

    def _read(self, texts: Sequence[str]) -> list[Reading]:
        return [self._reading(logits) for logits in self._encoder.outputs(texts)]

    def _reading(self, logits: NDArray[np.float32]) -> Reading:
        """From the logits (windows, labels) of one text."""
        from scipy.special import expit, softmax

        single = self._map.activation == "softmax"
        found = softmax(logits, axis=1) if single else expit(logits)
        scores, categories = {}, {}
        for axis, columns in self._columns.items():
            windows = found[:, columns].sum(axis=1) if single else found[:, columns].max(axis=1)
            worst = windows.min() if axis == "refusal" else windows.max()  # who declines at first may comply later
            scores[axis] = round(min(float(worst), 1.0), 6)
            likeliest = columns[int(found[windows.argmax(), columns].argmax())]
            categories[axis] = self._map.labels[self._names[likeliest]].category
        return Reading(scores, categories)


def _category(sample: Sample, verdict: Verdict, known: Mapping[str, Reading]) -> str | None:
    """The hazard of the text that decided."""
    axis = "response" if verdict.reason == "harmful-response" else "prompt"
    texts = [text for exchange in exchanges(sample) for text in exchange.get(axis, ())]
    return known[max(texts, key=lambda text: known[text].scores[axis])].categories[axis]


def _labels(source: Source) -> tuple[list[str], LabelMap]:
    """The names of the model's outputs and the label map, checked against each other before weights are read."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source.model, revision=source.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from None
    names = [str(name) for _, name in sorted((config.id2label or {}).items())]
    if source.labels is None:
        raise missing(source, names, config.problem_type == "multi_label_classification")
    source.labels.check(names, str(source.file))
    return names, source.labels


def _load(source: Source) -> tuple[Any, PreTrainedTokenizerBase]:
    model, tokenizer, lacking = read_classifier(source)
    if lacking:
        raise DataError(
            f"classifier {source.model} lacks {len(lacking)} of its weights, {lacking[0]} first; give a model that was "
            "trained to classify"
        )
    return model, tokenizer


def read_classifier(source: Source, **head: Any) -> tuple[Any, PreTrainedTokenizerBase, list[str]]:
    """The model in float32 with its weights from safetensors, its tokenizer, and the weights that it lacks.

    Args:
        source: Where it is.
        head: Settings of its configuration that are to be others.

    Raises:
        DataError: it cannot be found or read.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    options: dict[str, Any] = {"revision": source.revision, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.model, **options)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            source.model, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options, **head
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable(source, error) from None
    return model, tokenizer, sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})


def _unreadable(source: Source, error: Exception) -> DataError:
    first = (str(error).strip() or type(error).__name__).partition("\n")[0][:200]
    return DataError(
        f"classifier {source.model!r} cannot be loaded ({first}); only safetensors are read and no remote code is run. "
        "Without a network give the folder of a downloaded model"
    )
