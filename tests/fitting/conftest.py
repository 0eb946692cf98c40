"""Labelled toy rows: an answer is unsafe when the letter ``z`` stands in it."""

import csv
import random

import pytest

from safefed.config import SourceConfig

CANARY = "zebrafish"
HEADER = ("ask", "answer", "bad", "document")


def toy_rows(n, seed=0):
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("abcdefghijklmnop", k=4)) for _ in range(300)]
    for i in range(n):
        ask, answer = (" ".join(draw.choices(vocabulary, k=k)) for k in (8, 4))
        bad = i % 3 == 0
        yield ask, f"{answer[:8]}z{answer[8:]}" if bad else answer, int(bad), f"d{i // 2}"


@pytest.fixture(scope="session")
def write_rows():
    def write(path, rows, **options):
        with path.open("w", newline="") as handle:
            csv.writer(handle).writerows([HEADER, *rows])
        return SourceConfig(path=str(path), **{"prompt": "ask", "response": "answer", "label": "bad", **options})

    return write


@pytest.fixture(scope="session")
def toy():
    return toy_rows
