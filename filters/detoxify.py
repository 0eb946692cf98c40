"""``detoxify``: the toxicity classifiers of the detoxify package (Unitary), as filters of prompt and response.

They know toxic language (insults, threats, obscenity, attacks on identity), not harmful instructions: a polite recipe
for something terrible passes. They do not know the refusal axis, so an answer to a toxic prompt counts as complying.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.errors import ConfigError, DataError
from safefed.filters.checkpoint import check_hash, load_checkpoint, recorded_hash, split_hash
from safefed.filters.combine import score_exchanges, to_verdict
from safefed.filters.windows import windows
from safefed.records import Sample, Verdict, content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT = "unbiased"
WINDOW = 400
"""Characters of text that are scored together; windows overlap by half."""

BATCH = 32
_MOST_TOKENS = 512


def locate(argument: str) -> tuple[Path, str]:
    """The checkpoint that ``argument`` names and the sha-256 it must have (the first 8 digits for a named model).

    Raises:
        ConfigError: neither a named model nor a path.
        DataError: the file is not there, and cannot be downloaded.
        IntegrityError: nothing says what a local checkpoint's hash must be.
    """
    from detoxify.detoxify import MODEL_URLS

    name, digest = split_hash(argument)
    if name in MODEL_URLS:
        path, prefix = _named(MODEL_URLS[name])
        return path, digest or prefix
    path = Path(name).expanduser()
    if path.is_file():
        return path, digest or recorded_hash(path)
    if path.suffix or "/" in name:
        raise DataError(f"detoxify checkpoint {path} does not exist; give its path or one of {', '.join(MODEL_URLS)}")
    raise ConfigError(
        f"detoxify has no model {name!r}; choose from {', '.join(MODEL_URLS)}, or give a checkpoint's path"
    )


def _named(url: str) -> tuple[Path, str]:
    """Where torch.hub keeps the file, downloaded if need be, and the hash digits in its name."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    prefix = path.stem.rpartition("-")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path} is not there; download {url} and put it there ({error})") from None
    return path, prefix


class DetoxifyFilter:
    """Scores "prompt" and "response" as the highest toxicity class of the highest window.

    Args:
        argument: "unbiased" (default), "original", "multilingual", "original-small", "unbiased-small", or the path of a
            checkpoint, optionally with "#sha256=HEX". A path's hash may also stand in PATH.sha256; one of them must.
            If the path's folder holds config.json and tokenizer files, nothing is fetched from the hub.
        threshold: The unsafe probability from which a row is to be revised.

    Raises:
        ConfigError: no such model.
        DataError: checkpoint, configuration or tokenizer cannot be found or read.
        IntegrityError: the checkpoint's hash is unknown or wrong; it was not un-pickled.
    """

    def __init__(self, argument: str | None = None, *, threshold: float = 0.5) -> None:
        import torch

        path, expected = locate(argument or DEFAULT)
        digest = check_hash(path, expected)
        model, self._tokenizer, self._classes = _build(path)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        model.to(self._device)
        self._model = model.eval()
        self._limit = min(_MOST_TOKENS, self._tokenizer.model_max_length, model.config.max_position_embeddings - 2)
        self.threshold = threshold
        self.name = f"detoxify:{argument}" if argument else "detoxify"
        tokens = self._tokenizer.backend_tokenizer.to_str()
        self.revision = content_hash([digest, model.config.to_json_string(), tokens, WINDOW, threshold])

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; equal texts are scored once per call."""
        settings = {"name": self.name, "revision": self.revision}
        rows = score_exchanges(samples, self.probabilities, ("prompt", "response"))
        return [
            to_verdict(sample.id, scores, threshold=self.threshold, **settings)
            for sample, scores in zip(samples, rows, strict=True)
        ]

    def probabilities(self, axis: str, texts: Sequence[str]) -> list[float]:  # noqa: ARG002
        """The toxicity of each text, whatever the axis; NaN if the model gives one."""
        import numpy as np

        parts = [windows(text, WINDOW) for text in texts]
        scores = iter(self._toxicity([part for found in parts for part in found]))
        return [round(float(np.max([next(scores) for _ in found])), 6) for found in parts]

    def _toxicity(self, texts: Sequence[str]) -> list[float]:
        """One score per text, in order; scored longest first, so that batches are evenly long."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        scores = [0.0] * len(texts)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for i, score in zip(chosen, self._batch([texts[i] for i in chosen]), strict=True):
                scores[i] = score
        return scores

    def _batch(self, texts: list[str]) -> list[float]:
        """The highest class of each text; what is over the model's token limit overflows into further rows."""
        import torch

        tokens = self._tokenizer(
            texts,
            truncation=True,
            max_length=self._limit,
            stride=self._limit // 4,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        owner = tokens.pop("overflow_to_sample_mapping")
        rows = [
            self._forward({name: part.to(self._device) for name, part in zip(tokens, found, strict=True)})
            for found in zip(*(torch.split(tensor, BATCH) for tensor in tokens.values()), strict=True)
        ]
        highest = torch.full((len(texts),), -1.0)
        return [float(x) for x in highest.scatter_reduce(0, owner, torch.cat(rows), "amax")]

    def _forward(self, inputs: Mapping[str, Any]) -> Any:
        import torch

        with torch.inference_mode():
            logits = self._model(**inputs).logits[:, : self._classes]
        return torch.sigmoid(logits.float()).amax(dim=1).cpu()


def _build(path: Path) -> tuple[Any, PreTrainedTokenizerBase, int]:
    """Model, tokenizer and number of toxicity classes of a checkpoint in detoxify's layout."""
    from detoxify.detoxify import get_model_and_tokenizer

    loaded = load_checkpoint(path)
    try:
        architecture = dict(loaded["config"]["arch"]["args"])
        classes = len(loaded["config"]["dataset"]["args"]["classes"])
        weights = loaded["state_dict"]
    except (KeyError, TypeError):
        raise DataError(f"{path} is not a detoxify checkpoint: it needs 'state_dict' and 'config'") from None
    if (path.parent / "config.json").is_file():
        architecture["model_type"] = str(path.parent)
    try:
        model, tokenizer = get_model_and_tokenizer(**architecture, state_dict=weights)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0][:200]
        raise DataError(
            f"{path}: no model can be made of it ({first}); without a network, put config.json and the tokenizer files "
            f"of {architecture.get('model_type')} into its folder"
        ) from None
    missing = sorted(name for name, _ in model.named_parameters() if name not in weights)
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of the model's weights, {missing[0]} first; it is not for this model"
        )
    return model, tokenizer, classes
