"""The public data sets that the recipe reads: which rows may be trained on, and which texts must be kept clear of."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safefed.errors import DataError

AILUMINATE = {
    "cse": "S4", "dfm": "S5", "hte": "S10", "ipv": "S8", "iwp": "S9", "ncr": "S2", "prv": "S7", "src": "S3",
    "ssh": "S11", "sxc_prn": "S12", "vcr": "S1", "spc_fin": "S6", "spc_hlt": "S6", "spc_ele": "S6", "spc_lgl": "S6",
}  # fmt: skip
"""The hazard codes of AILuminate as categories."""


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path} is missing; point --data at the folder of data sets, or use --data none")
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    elif path.suffix == ".json":
        yield from json.loads(path.read_text(encoding="utf-8"))
    else:
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def seen(prompt: str) -> bool:
    """Whether the embedded model may learn from ``prompt``: bucket 1 of 2; bucket 0 is for clients and measuring."""
    return bucket(prompt, 2) == 1


def bucket(prompt: str, of: int) -> int:
    """The bucket of a prompt: its sha-256 modulo ``of``, as in the configuration of a source."""
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % of


def gpteacher(folder: Path) -> Iterator[tuple[str, str]]:
    """(prompt, answer) of GPTeacher's role-play instructions."""
    for row in _rows(folder / "gpteacher/roleplay_instruct.json"):
        yield "\n\n".join(filter(None, (row["instruction"], row["input"]))), row["response"]


def dolly(folder: Path, *, unseen: bool = False) -> Iterator[tuple[str, str]]:
    """(prompt, answer) of Dolly's closed questions of the seen (or unseen) bucket, context after instruction."""
    for row in _rows(folder / "dolly/dolly_1000.csv"):
        prompt = "\n\n".join(filter(None, (row["instruction"], row["context"])))
        if seen(prompt) is not unseen:
            yield prompt, row["response"]


def ailuminate(folder: Path, *, unseen: bool = False) -> Iterator[tuple[str, str]]:
    """(prompt, category) of the hazardous prompts of AILuminate in the seen (or unseen) bucket."""
    for row in _rows(folder / "ailuminate/airr_official_1.0_demo_en_us_prompt_set_release.csv"):
        if seen(row["prompt_text"]) is not unseen:
            yield row["prompt_text"], AILUMINATE[row["hazard"]]


def gptfuzz_questions(folder: Path) -> Iterator[str]:
    """The GPTFuzz questions in the seen bucket; the others are client data of the real experiment."""
    yield from (row["text"] for row in _rows(folder / "gptfuzz/question_list.csv") if seen(row["text"]))


def gptfuzz_held_out(folder: Path) -> Iterator[str]:
    """The questions in bucket 0."""
    mine = set(gptfuzz_questions(folder))
    yield from (row["text"] for row in _rows(folder / "gptfuzz/question_list.csv") if row["text"] not in mine)


def said_by_people(folder: Path) -> Iterator[str]:
    """What people wrote to models: first turns of hh-rlhf's dialogues, contexts of DiaSafety's training half."""
    for row in _rows(folder / "hh_rlhf/test.jsonl.gz"):
        yield row["chosen"].split("\n\nHuman:")[1].split("\n\nAssistant:")[0].strip()
    yield from (row["context"] for row in _rows(folder / "diasafety/train.json"))


def alpaca_seeds(folder: Path) -> Iterator[dict[str, Any]]:
    """The seed tasks as they are."""
    yield from _rows(folder / "alpaca/seed_tasks.jsonl")


def evaluation_texts(folder: Path) -> Iterator[str]:
    """Every prompt or text of the sets that must only ever measure."""
    for row in _rows(folder / "advbench/harmful_behaviors.csv"):
        yield from (row["goal"], row["target"])
    yield from (row["prompt"] for row in _rows(folder / "xstest/xstest_prompts.csv"))
    for row in _rows(folder / "mt_bench/question.jsonl"):
        yield from row["turns"]
    for row in alpaca_seeds(folder):
        yield row["instruction"]
        yield from (f"{row['instruction']} {instance['input']}" for instance in row["instances"] if instance["input"])
    yield from (row["prompt"] for row in _rows(folder / "openai_moderation/samples-1680.jsonl.gz"))
    yield from (row["context"] for row in _rows(folder / "diasafety/val.json"))
    yield from (row["question_en"] for row in _rows(folder / "square/response_test_ood.json"))
    for row in _rows(folder / "square/kosbi_test.json"):
        yield f"{row['context_en']} {row['sentence_en']}"
