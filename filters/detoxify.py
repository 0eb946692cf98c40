"""``detoxify``: the toxicity classifiers of the detoxify package (Unitary), as filters of prompt and response.

They know toxic language (insults, threats, obscenity, attacks on identity), not harmful instructions: a polite recipe
for something terrible passes. They do not know the refusal axis, so an answer to a toxic prompt counts as complying.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.errors import ConfigError, DataError
from safefed.filters.checkpoint import check_hash, load_checkpoint, recorded_hash, split_hash
from safefed.filters.combine import distinct_texts, score_exchanges, to_verdict
from safefed.filters.encoder_batches import Encoder, split_dtype
from safefed.records import Sample, Verdict, content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT = "unbiased"
_MOST_TOKENS = 512
_AXES = ("prompt", "response")


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

    A text within the model's limit (512 tokens, special ones included) is one window and scores exactly as in
    ``Detoxify.predict``: raw text, nothing normalised. A longer text is read in overlapping windows to its end.

    Args:
        argument: "unbiased" (default), "original", "multilingual", "original-small", "unbiased-small", or the path of a
            checkpoint, optionally with "#sha256=HEX". A path's hash may also stand in PATH.sha256; one of them must.
            If the path's folder holds config.json and tokenizer files, nothing is fetched from the hub.
            "#dtype=float32" or "#dtype=bfloat16" at the end overrides the choice by hardware.
        threshold: The unsafe probability from which a row is to be revised.

    Raises:
        ConfigError: no such model or dtype.
        DataError: checkpoint, configuration or tokenizer cannot be found or read.
        IntegrityError: the checkpoint's hash is unknown or wrong; it was not un-pickled.
    """

    def __init__(self, argument: str | None = None, *, threshold: float = 0.5) -> None:
        model_name, dtype = split_dtype(argument or DEFAULT)
        path, expected = locate(model_name)
        digest = check_hash(path, expected)
        model, tokenizer, self._classes = _build(path)
        self._encoder = Encoder(model, tokenizer, limit=_MOST_TOKENS, dtype=dtype)
        self.threshold = threshold
        self.name = f"detoxify:{argument}" if argument else "detoxify"
        tokens = tokenizer.backend_tokenizer.to_str()
        settings = [self._encoder.limit, self._encoder.dtype, threshold]
        self.revision = content_hash([digest, model.config.to_json_string(), tokens, settings])

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; equal texts are scored once per call."""
        texts = distinct_texts(samples, _AXES)
        known = dict(zip(texts, self._toxicity(texts), strict=True))
        rows = score_exchanges(samples, lambda _, asked: [known[text] for text in asked], _AXES)
        settings: dict[str, Any] = {"name": self.name, "revision": self.revision, "threshold": self.threshold}
        return [to_verdict(sample.id, scores, **settings) for sample, scores in zip(samples, rows, strict=True)]

    def probabilities(self, axis: str, texts: Sequence[str]) -> list[float]:  # noqa: ARG002
        """The toxicity of each text, whatever the axis; NaN if the model gives one."""
        return self._toxicity(texts)

    def _toxicity(self, texts: Sequence[str]) -> list[float]:
        from scipy.special import expit

        return [round(float(expit(rows[:, : self._classes]).max()), 6) for rows in self._encoder.outputs(texts)]


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
