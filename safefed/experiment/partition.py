"""Who owns what: an experiment's data as one folder and one ``client.toml`` per client."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from safefed.config import ClientConfig, DataConfig, ExperimentConfig, NodeConfig, SourceConfig
from safefed.errors import DataError
from safefed.records import Sample
from safefed.sources import read_pool
from safefed.store import write_atomic, write_json, write_jsonl
from safefed.tiny import default_samples

ROWS = "rows.jsonl"
DEFAULT_ROWS = 120


def _pools(data: DataConfig, seed: int) -> tuple[list[Sample], list[Sample], list[str]]:
    if not data.benign:
        rows = data.rows or DEFAULT_ROWS
        n_unsafe = round(rows * data.unsafe_share) * data.unsafe_clients
        unsafe = default_samples("unsafe", n_unsafe, seed=seed) if n_unsafe else []
        return default_samples("benign", rows * data.clients, seed=seed), unsafe, []
    benign, bad = read_pool(data.benign)
    unsafe, bad_unsafe = read_pool(data.unsafe)
    return benign, unsafe, bad + bad_unsafe


def split(benign: Sequence[Sample], unsafe: Sequence[Sample], data: DataConfig, seed: int) -> list[list[Sample]]:
    """Rows per client: equal random shares of ``benign``; the last ``unsafe_clients`` get their share of ``unsafe``.

    No row is given twice. Equal arguments give equal shares.

    Raises:
        DataError: there are too few rows for what is asked.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    good, bad = rng.sample(list(benign), len(benign)), rng.sample(list(unsafe), len(unsafe))
    rows = data.rows or len(good) // data.clients
    n_unsafe = round(rows * data.unsafe_share) if unsafe else 0
    if rows < 1 or rows * data.clients - n_unsafe * data.unsafe_clients > len(good):
        raise DataError(f"{len(good)} harmless rows are too few for {data.clients} clients of {rows}; lower data.rows")
    if n_unsafe * data.unsafe_clients > len(bad):
        raise DataError(
            f"{len(bad)} unsafe rows are too few for {data.unsafe_clients} clients with {n_unsafe} each; "
            "lower data.rows, data.unsafe_share or data.unsafe_clients"
        )
    shares = []
    for client in range(data.clients):
        k = n_unsafe if client >= data.clients - data.unsafe_clients else 0
        share = [good.pop() for _ in range(rows - k)] + [bad.pop() for _ in range(k)]
        shares.append(rng.sample(share, rows))
    return shares


def _row(sample: Sample) -> dict[str, Any]:
    return {"messages": [m.to_json() for m in sample.messages], "unsafe": sample.label}


def _write_client(folder: Path, client: ClientConfig, config: ExperimentConfig) -> Path:
    node = NodeConfig(
        name=client.name,
        work=".",
        model=config.model,
        data=client.sources,
        screening="none",
        screen=config.screen,
        revise=config.revise,
        objective=client.objective,
        beta=client.beta,
        threads=config.threads,
    )
    path = folder / "client.toml"
    write_atomic(path, tomli_w.dumps(node.model_dump(mode="json", exclude_none=True)).encode())
    return path


def write_clients(config: ExperimentConfig, work: Path) -> list[Path]:
    """Give each client its folder under ``work`` with its data and its ``client.toml``; returns the latter, sorted.

    Only for clients that live on this machine (inline and simulation runs); a deployed client writes its own.

    Raises:
        DataError: the data cannot be read or split as asked.
    """
    if config.data.client:
        return sorted(_write_client(work / client.name, client, config) for client in config.data.client)
    benign, unsafe, bad = _pools(config.data, config.seeds[0])
    files = []
    for i, rows in enumerate(split(benign, unsafe, config.data, config.seeds[0]), 1):
        folder = work / f"client-{i:02d}"
        write_jsonl(folder / ROWS, (_row(sample) for sample in rows))
        source = SourceConfig(path=ROWS, format="messages", label="unsafe")
        files.append(_write_client(folder, ClientConfig(name=folder.name, sources=[source]), config))
    facts = {"benign": len(benign), "unsafe": len(unsafe), "unusable": bad, "clients": [f.parent.name for f in files]}
    write_json(work / "partition.json", facts)
    return files
