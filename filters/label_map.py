"""Label maps: which labels of a classifier mean unsafe, on which axis, and which hazard they stand for.

A label map is ``safefed-filter.json`` in a model's folder, or any ``LABELS.json`` that names its model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from safefed.config import Section, Share, parse
from safefed.errors import ConfigError, DataError

FILE = "safefed-filter.json"

Axis = Literal["prompt", "response", "refusal"]
Hazard = Literal["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14"]


class Meaning(Section):
    """What one label means: harmful as a "prompt" or "response", or (axis "refusal") that the answer declines."""

    axes: Annotated[list[Axis], Field(min_length=1)]
    category: Hazard | None = None


class LabelMap(Section):
    """What a classifier's labels mean.

    Attributes:
        labels: The labels that count; the others are safe.
        activation: "softmax" if exactly one label holds for a text (an axis scores as the sum over its labels),
            "sigmoid" if each may hold by itself (as the highest).
        model: A hub id, or a folder relative to this file, by default the file's own.
        revision: The hub revision (a commit) to load.
        max_tokens: Tokens of a window, special ones included; the model's limit by default.
        threshold: The unsafe probability from which a row is flagged.
    """

    labels: Annotated[dict[str, Meaning], Field(min_length=1)]
    activation: Literal["softmax", "sigmoid"]
    model: str = "."
    revision: str | None = None
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    threshold: Share = 0.5

    def check(self, names: list[str], where: str) -> None:
        """Compare with the labels that the model has.

        Raises:
            ConfigError: a label is not the model's, or on some axis nothing, or everything, would be unsafe.
        """
        if unknown := sorted(self.labels.keys() - set(names)):
            raise ConfigError(f"{where} maps {unknown[0]!r}, but the model's labels are {', '.join(names)}")
        axes = {axis for meaning in self.labels.values() for axis in meaning.axes}
        if axes == {"refusal"}:
            raise ConfigError(f"{where} maps labels to the refusal axis alone; map one to prompt or response too")
        for axis in sorted(axes):
            if self.activation == "softmax" and all(n in self.labels and axis in self.labels[n].axes for n in names):
                raise ConfigError(
                    f"{where} calls every label unsafe on axis {axis!r}, and under softmax one of them always holds; "
                    'leave the safe one out, or write "activation": "sigmoid"'
                )


@dataclass(frozen=True, slots=True)
class Source:
    """Where a classifier's weights are, and its label map if it has one.

    Attributes:
        model: A folder or a hub id.
        revision: The hub revision, None for the newest.
        file: The label map's file, or where it should be written.
    """

    model: str
    revision: str | None
    file: Path
    labels: LabelMap | None


def find(argument: str) -> Source:
    """What ``FOLDER``, ``OWNER/NAME``, ``OWNER/NAME@REVISION`` or ``LABELS.json`` stands for.

    Raises:
        ConfigError: the label map is not one.
        DataError: a path does not exist.
    """
    path = Path(argument).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.suffix == ".json":
        if not path.is_file():
            raise DataError(f"label map {path} does not exist; docs/filters.md says what to write")
        return _named_by(path)
    if argument.startswith((".", "/", "~")):
        raise DataError(f"model folder {path} does not exist; give a folder, a hub id or a LABELS.json")
    name, _, revision = argument.partition("@")
    file = _from_hub(name, revision or None)
    return Source(name, revision or None, file or Path("LABELS.json"), _read(file) if file else None)


def _in_folder(folder: Path) -> Source:
    file = folder / FILE
    return _named_by(file) if file.is_file() else Source(str(folder), None, file, None)


def _named_by(file: Path) -> Source:
    labels = _read(file)
    folder = file.parent / Path(labels.model).expanduser()
    if folder.is_dir():
        return Source(str(folder), None, file, labels)
    if labels.model.startswith((".", "/", "~")):
        raise DataError(f"{file} names the model folder {folder}, which does not exist")
    return Source(labels.model, labels.revision, file, labels)


def _read(file: Path) -> LabelMap:
    try:
        tree: Any = json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid JSON ({error})") from None
    return parse(LabelMap, tree, str(file))


def _from_hub(name: str, revision: str | None) -> Path | None:
    """The label map that a hub repository brings along, None if it has none or cannot be asked."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, FILE, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def missing(source: Source, names: list[str], multi_label: bool) -> ConfigError:
    """The error that says what to write where, for a model with labels ``names`` and no label map."""
    example: dict[str, Any] = {} if source.file.name == FILE else {"model": source.model}
    example |= {"revision": source.revision} if source.revision else {}
    example |= {
        "activation": "sigmoid" if multi_label or len(names) == 1 else "softmax",
        "labels": {names[-1]: {"axes": ["prompt", "response"], "category": "S10"}},
    }
    return ConfigError(
        f"nothing says which labels of classifier {source.model} mean unsafe; they are {', '.join(names)}. "
        f"Write {source.file}, for example {json.dumps(example)}, and use it as classifier:{_as_argument(source)}; "
        "docs/filters.md describes it"
    )


def _as_argument(source: Source) -> str:
    return source.model if source.file.name == FILE else str(source.file)
