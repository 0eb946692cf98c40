"""The text of a few rows, for a page that stays on the client's own machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safefed.config import SourceConfig, parse
from safefed.dataset import REVISIONS
from safefed.errors import DataError
from safefed.records import Sample
from safefed.sources import read_rows
from safefed.store import read_jsonl

LONGEST = 1500
"""Characters of one message that are shown."""

Turns = list[tuple[str, str]]
"""(who, what) …"""


def texts(folder: Path, manifest: Mapping[str, Any], ids: Collection[str]) -> dict[str, Turns]:
    """What is said in the rows ``ids``, each with its revised answer where it has one.

    Dropped rows are nowhere in a data set, so the source files are read again. A row that is not in them any more is
    missing in the result.

    Raises:
        DataError: the data set was not made from files, or one of them is gone.
    """
    if "source" not in manifest:
        raise DataError(
            f"{folder} was not made from files, so the text of its rows is not at hand; leave out --show-text"
        )
    found: dict[str, Turns] = {}
    for tree in manifest["source"]:
        source = parse(SourceConfig, tree, f"the source in the manifest of {folder}")
        for row in read_rows(source):
            if len(found) == len(ids):
                break
            if isinstance(row, Sample) and row.id in ids:
                found[row.id] = [(message.role, _cut(message.content)) for message in row.messages]
    for revision in read_jsonl(folder / REVISIONS):
        if revision["sample_id"] in found:
            found[revision["sample_id"]].append(("revised answer", _cut(revision["revised"])))
    return found


def _cut(text: str) -> str:
    rest = len(text) - LONGEST
    return text if rest <= 0 else f"{text[:LONGEST]} […] ({rest:,} more characters)"
