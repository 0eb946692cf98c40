"""What the stages of an experiment start from, hashed: the clients' data, the filters, the constitution."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safefed.config import ExperimentConfig, load_node
from safefed.constitution import load_constitution
from safefed.filters.registry import files_of
from safefed.records import content_hash
from safefed.sources import source_files
from safefed.store import sha256_file

FILTER = "filter:"
"""How a judge that is a filter begins."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the stages of all arms start from, hashed once.

    Attributes:
        data: The clients' data; "" where none of it is on this machine.
        screen: Name and hash of each file of the filter.
        judges: The same of the filters that judge answers.
        constitution: The revision of the constitution.
    """

    data: str
    screen: tuple[tuple[str, str], ...]
    judges: tuple[tuple[str, str], ...]
    constitution: str

    def screened(self, data: str) -> str:
        """What decides ``data`` after the screen: also the files of its filter."""
        return content_hash([data, *self.screen])

    def revised(self, data: str) -> str:
        """What decides ``data`` after screen and revision: also the constitution."""
        return content_hash([self.screened(data), self.constitution])


def read_inputs(config: ExperimentConfig, files: Sequence[Path]) -> Inputs:
    """The inputs of an experiment; ``files`` are the ``client.toml`` of clients on this machine."""
    judges = [judge.removeprefix(FILTER) for judge in config.benchmark.judges if judge.startswith(FILTER)]
    constitution = load_constitution(config.revise.constitution).revision
    return Inputs(_data_key(files), _hashed([config.screen.filter]), _hashed(judges), constitution)


def _hashed(filters: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((file.name, sha256_file(file)) for name in filters for file in files_of(name))


def _data_key(files: Sequence[Path]) -> str:
    """What decides the clients' data: their ``client.toml`` and the files that these name, wherever they are."""
    if not files:
        return ""
    root = files[0].parent.parent
    owned = {p.resolve() for f in files for source in load_node(f).data for p in source_files(source)}
    named = [(str(p.relative_to(root)) if p.is_relative_to(root) else p.name, p) for p in owned]
    clients = [[file.parent.name, _written(file)] for file in sorted(files)]
    return content_hash([clients, [[name, sha256_file(p)] for name, p in sorted(named)]])


def _written(file: Path) -> dict[str, Any]:
    """What decides, of what stands in a ``client.toml``: not how fast or with which key a server is asked."""
    return tomllib.loads(file.read_text("utf-8")) | {"revise": load_node(file).revise.decisive()}
