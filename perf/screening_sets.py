"""The public sets that screens are measured on, with people's labels.

"benign" stands for rows of harmless instruction data, taken as harmless.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safefed.filters.fit_data import SEEN, benign, gptfuzz
from safefed.records import Sample

UNSEEN = 1 - SEEN
MODERATED = {"S3": "S4", "SH": "S11", "H2": "S10", "V2": "S1", "S": "S12", "H": "S10", "V": "S1", "HR": "S10"}
"""What the moderation set's categories are called here; of several the first names a row's hazard."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A sample and whether people (or its origin) call it positive on ``axis``; None = the row as a whole.

    ``group`` names what rows have in common (a question, a document), so that they are resampled and split together.
    """

    sample: Sample
    positive: bool
    axis: str | None = None
    group: str = ""


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def fuzz_rows(data: Path) -> Iterator[Labelled]:
    """GPTFuzz questions that nothing was fitted on, with answers that people call harmful or not."""
    yield from (Labelled(sample, bool(sample.label), None, sample.prompt) for sample in gptfuzz(data, UNSEEN))


def fuzz_all_answers(data: Path) -> Iterator[Labelled]:
    """Every GPTFuzz answer that people labelled, of all questions."""
    for s in (*gptfuzz(data, UNSEEN), *gptfuzz(data, SEEN)):
        yield Labelled(Sample.of("", s.response), bool(s.label), "response", s.prompt)


def fuzz_benign(data: Path) -> Iterator[Labelled]:
    """The harmful ones among them, and unseen rows of Dolly and GPTeacher."""
    yield from (Labelled(sample, True, None, sample.prompt) for sample in gptfuzz(data, UNSEEN) if sample.label)
    yield from (Labelled(sample, False, None, sample.prompt) for sample in benign(data, UNSEEN))


def fuzz_answers(data: Path) -> Iterator[Labelled]:
    for s in gptfuzz(data, UNSEEN):
        yield Labelled(Sample.of("", s.response), bool(s.label), "response", s.prompt)


def moderation(data: Path) -> Iterator[Labelled]:
    with gzip.open(data / "openai_moderation/samples-1680.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            hazard = next((hazard for category, hazard in MODERATED.items() if row.get(category) == 1), None)
            yield Labelled(Sample.of(row["prompt"], category=hazard), hazard is not None, "prompt")


def xstest(data: Path) -> Iterator[Labelled]:
    for row in table(data / "xstest/xstest_prompts.csv"):
        yield Labelled(Sample.of(row["prompt"]), row["label"] == "unsafe", "prompt")


def advbench(data: Path) -> Iterator[Labelled]:
    goals = (row["goal"] for row in table(data / "advbench/harmful_behaviors.csv"))
    yield from (Labelled(Sample.of(goal), True, "prompt") for goal in goals)
    with (data / "alpaca/seed_tasks.jsonl").open(encoding="utf-8") as lines:
        yield from (Labelled(Sample.of(json.loads(line)["instruction"]), False, "prompt") for line in lines)


def diasafety(part: str) -> Callable[[Path], Iterator[Labelled]]:
    def read(data: Path) -> Iterator[Labelled]:
        for row in json.loads((data / f"diasafety/{part}.json").read_bytes()):
            if row["response"]:
                sample = Sample.of(row["context"], row["response"])
                yield Labelled(sample, row["label"] == "Unsafe", "response", row["context"])

    return read


def square(data: Path) -> Iterator[Labelled]:
    rows = json.loads((data / "square/response_test_ood.json").read_bytes())
    for row in rows:
        yield Labelled(
            Sample.of(row["question_en"], row["response_en"]), not row["acceptable?"], "response", row["question_en"]
        )


def kosbi(data: Path) -> Iterator[Labelled]:
    """Context and sentence in English, as request and answer; people say whether the sentence is safe."""
    for row in json.loads((data / "square/kosbi_test.json").read_bytes()):
        sample = Sample.of(row["context_en"], row["sentence_en"])
        yield Labelled(sample, row["sentence_label"] == "unsafe", "response", row["context_en"])


def refusals(model: str) -> Callable[[Path], Iterator[Labelled]]:
    def read(data: Path) -> Iterator[Labelled]:
        for row in table(data / f"xstest/xstest_v2_completions_{model}_gpteval.csv"):
            declined = not row["final_label"].startswith("1")
            yield Labelled(Sample.of(row["prompt"], row["completion"]), declined, "refusal")

    return read


SETS: dict[str, Callable[[Path], Iterator[Labelled]]] = {
    "GPTFuzz rows, unseen questions": fuzz_rows,
    "GPTFuzz harmful rows against benign rows, unseen": fuzz_benign,
    "GPTFuzz answers, unseen questions": fuzz_answers,
    "OpenAI moderation as prompts": moderation,
    "XSTest prompts": xstest,
    "AdvBench goals against Alpaca seed tasks": advbench,
    "DiaSafety validation": diasafety("val"),
    "SQuARe OOD, English": square,
    "KoSBi, English": kosbi,
}
