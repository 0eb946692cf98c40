"""The word tables behind the grammars (``*.json`` beside this file), and the texts written out by hand (``texts/``)."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any


@functools.cache
def table(name: str) -> Any:
    """One table; callers must not change it. Harmful entries are topic and intent, never a method."""
    return json.loads((files("safefed.tiny") / f"{name}.json").read_text(encoding="utf-8"))


@functools.cache
def written(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of ``texts/NAME.tsv``, one tuple of columns each."""
    text = (files("safefed.tiny") / "texts" / f"{name}.tsv").read_text(encoding="utf-8")
    return tuple(tuple(line.split("\t")) for line in text.splitlines())
