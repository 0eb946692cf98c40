"""A finished data set, or what alignment trained on, in TRL's formats: folders for ``datasets.load_dataset``.

``sft`` holds conversations (``messages``), ``dpo`` preferences (``prompt``, ``chosen``, ``rejected``, each a list of
messages); each is a ``train.jsonl`` with a data card, so that ``trl sft`` and ``trl dpo`` read it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from safefed.data_card import data_card
from safefed.dataset import DATA, PAIRS
from safefed.errors import ConfigError, DataError
from safefed.store import new_folder, read_jsonl, read_manifest, write_atomic, write_jsonl, write_manifest

Kind = Literal["sft", "dpo", "both"]

ALIGNED = "rows.jsonl"
"""What an alignment stage calls its rows; ``DATA`` is what a screened data set calls them."""

TRAIN, CARD = "train.jsonl", "README.md"

Row = dict[str, Any]


def export(folder: Path, out: Path, *, kind: Kind = "both", originals: bool = True) -> dict[str, Any]:
    """Write ``out/sft`` and ``out/dpo``.

    Args:
        folder: A data set that ``preprocess`` finished, or the ``align`` folder of a run.
        out: New or empty.
        kind: "both" leaves ``dpo`` out where there are no pairs.
        originals: Whether flagged answers may be written. They are the rejected side of every pair, so that without
            them there is no ``dpo``.

    Returns:
        The manifest of ``out``: ``kinds`` with the rows of each, ``without_answer`` (rows left out, since there is
        nothing to train on), ``files`` with their sha-256.

    Raises:
        ConfigError: ``out`` holds something; ``kind`` is not known, or "dpo" without originals.
        DataError: ``folder`` is not finished, or holds no row of the kind.
        IntegrityError: a file changed since it was written.
    """
    _check(out, kind, originals)
    source, rows = _finished(folder)
    kinds: dict[str, int] = {}
    with new_folder(out) as unfinished:
        if kind != "dpo":
            kinds["sft"] = write_jsonl(unfinished / "sft" / TRAIN, _conversations(folder / rows))
        if kind != "sft" and originals:
            kinds["dpo"] = write_jsonl(unfinished / "dpo" / TRAIN, _preferences(folder / PAIRS))
        kinds = _without_empty(unfinished, kinds, kind, folder)
        for name, n in kinds.items():
            write_atomic(unfinished / name / CARD, data_card(name, n, source).encode())
        files = [f"{name}/{file}" for name in kinds for file in (TRAIN, CARD)]
        missing = sum(not _answered(row) for row in read_jsonl(folder / rows))
        return write_manifest(unfinished, files, kinds=kinds, without_answer=missing)


def _check(out: Path, kind: str, originals: bool) -> None:
    if kind not in get_args(Kind):
        raise ConfigError(f"kind {kind!r} is not known; choose one of {', '.join(get_args(Kind))}")
    if kind == "dpo" and not originals:
        raise ConfigError("the rejected side of every pair is an original; export sft, or dpo with originals")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} already holds something; give another --out or delete it")


def _finished(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The manifest, and the file with the rows."""
    manifest = read_manifest(folder)
    rows = next((name for name in (DATA, ALIGNED) if manifest and name in manifest["files"]), None)
    if manifest is None or rows is None:
        raise DataError(f"{folder} holds no finished data set; run: safefed preprocess INPUT --out {folder}")
    return manifest, rows


def _without_empty(out: Path, kinds: Mapping[str, int], kind: Kind, folder: Path) -> dict[str, int]:
    """``kinds`` without preferences where there are none and both kinds were asked for."""
    if kinds.get("sft") == 0 or (kind == "dpo" and not kinds["dpo"]):
        what = "preference pairs; revised rows and preference data have them" if kind == "dpo" else "answered rows"
        raise DataError(f"{folder} holds no {what}")
    if kinds.get("dpo") == 0:
        (out / "dpo" / TRAIN).unlink()
        (out / "dpo").rmdir()
    return {name: n for name, n in kinds.items() if n}


def _answered(row: Mapping[str, Any]) -> bool:
    return bool(row["messages"]) and row["messages"][-1]["role"] == "assistant"


def _conversations(path: Path) -> Iterator[Row]:
    return ({"messages": row["messages"]} for row in read_jsonl(path) if _answered(row))


def _preferences(path: Path) -> Iterator[Row]:
    return (
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }
        for row in read_jsonl(path)
    )
