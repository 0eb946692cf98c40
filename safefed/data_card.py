"""The data card of an exported data set, with the header that ``datasets`` and the Hugging Face hub read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEADER = """---
license: unknown  # FILL IN: that of the rows you gave to safefed, e.g. cc-by-sa-3.0
pretty_name: FILL IN
task_categories:
- text-generation
tags:
- safefed
- trl
- {kind}
configs:
- config_name: default
  data_files:
  - split: train
    path: train.jsonl
---
"""
_WHAT = {
    "sft": "Conversations (`messages`) to fine-tune on.",
    "dpo": (
        "Preferences: `chosen` passed the screen, `rejected` is the answer that the screen flagged, or that the source "
        "rejected. "
        "**The rejected side may be unsafe text**: train on it as rejected only, and do not pass it on carelessly."
    ),
}
_LIMITS = """## Limits

A screen errs in both directions: some kept rows are unsafe, some revised ones were not. Requests stand here as they
came, also harmful ones, whose answers decline.

## Licence

FILL IN: that of the source rows, and of the revising model's output where rows were revised."""
_COUNTS = {
    "n_in": "rows read",
    "kept": "kept as they were",
    "revised": "revised",
    "fallbacks": "of these by a refusal template",
    "dropped": "dropped",
    "errored": "could not be used",
    "pairs": "preference pairs",
}
_MADE_BY = {
    "filter": "Filter",
    "filter_revision": "Filter revision",
    "threshold": "Threshold",
    "constitution": "Constitution",
    "constitution_version": "Constitution version",
    "constitution_revision": "Constitution hash",
    "generator_revision": "Revising model's revision",
    "safefed": "safefed",
}


def data_card(kind: str, n: int, manifest: Mapping[str, Any]) -> str:
    """The card of ``n`` rows of ``kind`` ("sft", "dpo"), made from the ``manifest`` of where they come from.

    What the manifest does not say is left out; the licence cannot be known and is to be filled in.
    """
    sections = [
        f"{_HEADER.format(kind=kind)}\n# FILL IN\n\n{_WHAT[kind]} {n:,} rows, written by `safefed export`.",
        f"```console\n$ trl {kind} --dataset_name THIS_FOLDER --model_name_or_path MODEL --output_dir OUT\n```",
        _table("How the rows came about", _counts(manifest)),
        _table("What decided it", {name: manifest.get(key) for key, name in _MADE_BY.items()} | _model(manifest)),
        _table(
            "Source files, by sha-256", {file: file for files in manifest.get("source_sha256", []) for file in files}
        ),
        _LIMITS,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _counts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Of a screened data set, or of an alignment stage, whose counts have names of their own."""
    own = {key.replace("_", " "): n for key, n in manifest.get("counts", {}).items()}
    return {name: manifest.get(key) for key, name in _COUNTS.items()} | own


def _model(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {"Revising model": (manifest.get("model") or {}).get("name")}


def _table(title: str, facts: Mapping[str, Any]) -> str:
    lines = [f"| {name} | `{value}` |" for name, value in facts.items() if value is not None]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines]) if lines else ""
