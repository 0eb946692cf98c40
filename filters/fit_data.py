"""What the embedded heads are fitted on: public data marked `train`, and phrasings written for safefed.

Of GPTFuzz, Dolly and GPTeacher only rows whose prompt is in bucket 1 of 2 (sha-256 of the prompt, modulo 2) are used;
bucket 0 stays unseen, for measuring and for experiments.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safefed.config import BucketConfig, JoinConfig, SourceConfig
from safefed.filters.combine import OPENING
from safefed.filters.fit_heads import Example
from safefed.filters.windows import pieces
from safefed.overlap import Index
from safefed.records import Sample
from safefed.sources import read_rows
from safefed.store import read_json
from safefed.tiny.data import mini_prompts
from safefed.tiny.folders import evaluation_texts
from safefed.tiny.tables import written

if TYPE_CHECKING:
    from safefed.overlap import Encode

SEEN = 1
"""The bucket of prompts that may be fitted on; the other one stays unseen."""

HAZARDS = {
    "vcr": "S1", "ncr": "S2", "src": "S3", "cse": "S4", "dfm": "S5", "spc": "S6", "prv": "S7", "ipv": "S8",
    "iwp": "S9", "hte": "S10", "ssh": "S11", "sxc": "S12",
}  # fmt: skip
"""AILuminate's hazards in the MLCommons numbering that the project uses."""

_DECLINES = re.compile(
    r"^\W*((i['\u2019]?m|i am) (really |very |so )?sorry|sorry,|i apologi[sz]e|my apologies|unfortunately,? i|as an ai"
    r"|as a responsible|i (can['\u2019]?t|cannot|can not|won['\u2019]?t|will not|am unable|am not able|must decline)"
    r"|no,? i (can|will|won)|i['\u2019]?m not (able|going|comfortable)"
    r"|it is (not appropriate|illegal|unethical|never))",
    re.IGNORECASE,
)


def _read(path: Path, bucket: int | None = None, **options: Any) -> list[Sample]:
    keep = None if bucket is None else BucketConfig(of=2, keep=[bucket])
    rows = read_rows(SourceConfig(path=str(path), bucket=keep, **options))
    unique = {row.id: row for row in rows if isinstance(row, Sample)}
    return list(unique.values())


def gptfuzz(data: Path, bucket: int = SEEN) -> list[Sample]:
    """GPTFuzz answers with their questions, ``label`` True = people called the answer harmful."""
    join = JoinConfig(file=str(data / "gptfuzz/question_list.csv"), key="question", column="text", on="index")
    columns = {"prompt": "question", "response": "Response", "label": "label"}
    return _read(data / "gptfuzz/train.csv", bucket, join=join, **columns)


def benign(data: Path, bucket: int = SEEN) -> list[Sample]:
    """Harmless instructions with answers from Dolly and GPTeacher."""
    files = ("dolly/dolly_1000.csv", "gpteacher/roleplay_instruct.json")
    return [sample for file in files for sample in _read(data / file, bucket)]


def ailuminate(data: Path) -> list[Sample]:
    """Hazardous prompts; ``meta["hazard"]`` names the hazard."""
    path = data / "ailuminate/airr_official_1.0_demo_en_us_prompt_set_release.csv"
    return [s for h in _hazards(path) for s in _with_hazard(path, h)]


def _hazards(path: Path) -> list[str]:
    import csv

    with path.open(encoding="utf-8", newline="") as handle:
        return sorted({row["hazard"] for row in csv.DictReader(handle)})


def _with_hazard(path: Path, hazard: str) -> list[Sample]:
    found = _read(path, prompt="prompt_text", where={"hazard": hazard})
    return [Sample(sample.messages, sample.source, {"hazard": HAZARDS[hazard[:3]]}) for sample in found]


def surge(data: Path) -> list[Example]:
    """Comments that people called toxic or not."""
    rows = _read(data / "surge_toxicity/toxicity_en.csv", prompt="text", label="is_toxic", unsafe_values=["toxic"])
    return [Example(row.prompt, bool(row.label), "surge", row.prompt) for row in rows]


class Phrasings:
    """The templates of phrases.json, filled in by a seeded generator."""

    def __init__(self, seed: int = 0) -> None:
        tables = read_json(Path(__file__).with_name("phrases.json"))
        self._tables = tables
        self._random = random.Random(seed)  # noqa: S311
        self.listed: list[tuple[str, str | None]] = [(g, h) for h, goals in tables["harmful"].items() for g in goals]
        self.listed += [(goal, None) for goal in (*tables["lookalike"], *tables["benign"])]
        self.combined = [goal for kind in ("harmful", "lookalike", "harmless") for goal in _combined(tables, kind)]
        self.harmful = [goal for goal, hazard in self.listed if hazard]

    def ask(self, goal: str) -> str:
        """``goal`` in one of our wordings."""
        return str(self._random.choice(self._tables["asks"])).replace("{g}", goal)

    def prompts(self) -> Iterator[Example]:
        """Harmful and harmless goals in the same wordings: 12 times those listed one by one, twice the combined."""
        for (goal, hazard), each in [*((g, 12) for g in self.listed), *((g, 2) for g in self.combined)]:
            for ask in self._random.sample(self._tables["asks"], each):
                evades = hazard is not None and self._random.random() < 0.15
                filled = ask.replace("{g}", goal + (self._random.choice(self._tables["evasions"]) if evades else ""))
                yield Example(filled, hazard is not None, "phrasings", goal, hazard)

    def answers(self) -> Iterator[Example]:
        """Answers that comply with a named harmful goal, and answers to harmless goals."""
        for (goal, hazard), each in [*((g, 6) for g in self.listed), *((g, 1) for g in self.combined)]:
            known = [text for text in self._tables["complies"] if not hazard or "{g}" in text]
            texts = known if hazard else known + self._tables["helps"]
            for text in self._random.sample(texts, each):
                yield Example(text.replace("{g}", goal), hazard is not None, "phrasings", goal)

    def complying(self, goal: str, n: int) -> list[str]:
        """``n`` answers that comply with ``goal``, none with a method."""
        known = [text for text in self._tables["complies"] if "{g}" in text]
        return [text.replace("{g}", goal) for text in self._random.sample(known, n)]

    def refusals(self, each: int = 4) -> Iterator[Example]:
        """Every opening with every way to decline, some with a closing sentence; the group is the way to decline."""
        for core, opening in product(self._tables["refuse_core"], self._tables["refuse_open"]):
            goals = self._random.sample(self.harmful, each)
            for goal in goals[: 1 + 3 * (opening == "")]:
                sentence = f"{opening} {core}".strip().replace("{g}", goal)
                closed = f"{sentence} {self._random.choice(self._tables['refuse_close'])}".strip()
                yield Example(closed[0].upper() + closed[1:], True, "phrasings", core)


def _combined(tables: Any, kind: str) -> Iterator[tuple[str, str | None]]:
    for table in tables[f"{kind}_tables"]:
        for verb, thing in product(table["verbs"], table["objects"]):
            yield f"{verb} {thing}", table.get("category")


def diasafety(data: Path) -> list[Example]:
    """Answers that people called safe or unsafe in their context; the group is the context."""
    rows = json.loads((data / "diasafety/train.json").read_bytes())
    return [Example(r["response"], r["label"] == "Unsafe", "diasafety", r["context"]) for r in rows if r["response"]]


def posts() -> list[Example]:
    """Posts, scenes, letters and the like, written for safefed: harmful by topic and intent only, or harmless."""
    return [Example(text, hazard != "-", "posts", text, _named(hazard)) for hazard, text in _table("posts")]


def requests() -> list[Example]:
    """Requests written for safefed: harmful ones, and harmless ones of which many sound harmful."""
    ours = [Example(text, hazard != "-", "requests", text, _named(hazard)) for hazard, text in _table("requests")]
    return [*ours, *_model_requests()]


def _model_requests() -> Iterator[Example]:
    """The tables that the embedded model was trained on; goals are asked for in one of our wordings."""
    ask = Phrasings().ask
    for name in ("asks", "lookalike_asks"):
        yield from (Example(row[0], False, "requests", row[0]) for row in written(name))
    for name in ("tasks", "lookalike_tasks"):
        yield from (Example(ask(row[0]), False, "requests", row[0]) for row in written(name))
    yield from (Example(row[1], True, "requests", row[1], row[0]) for row in written("harmful_asks"))
    yield from (Example(ask(row[1]), True, "requests", row[1], row[0]) for row in written("harmful_goals"))
    for row in written("contrasts"):
        yield Example(ask(row[0]), False, "requests", row[0])
        yield Example(ask(row[3]), True, "requests", row[3], row[2])


def answers_to_requests() -> list[Example]:
    """Answers to the requests of the embedded model's tables: as written, or empty of method to harmful ones."""
    wording = Phrasings(seed=1)
    found = [
        Example(row[1], False, "requests", row[0])
        for name in ("asks", "lookalike_asks", "tasks", "lookalike_tasks", "contrasts")
        for row in written(name)
    ]
    goals = [row[1] for row in written("harmful_goals")] + [row[3] for row in written("contrasts")]
    return found + [Example(text, True, "requests", goal) for goal in goals for text in wording.complying(goal, 3)]


def replies() -> list[tuple[bool, str, str]]:
    """(declines, question, answer), written for safefed."""
    return [(kind == "R", question, answer) for kind, question, answer in _table("replies")]


def without_repeats(found: Sequence[Example], data: Path, encode: Encode) -> list[Example]:
    """``found`` without what repeats an evaluation text, the suite ``mini`` or an unseen GPTFuzz question."""
    unseen = [s.prompt for s in _read(data / "gptfuzz/question_list.csv", 1 - SEEN, prompt="text")]
    forbidden = Index([*evaluation_texts(data), *mini_prompts(), *unseen], encode)
    repeats = {repeat.row for repeat in forbidden.find([example.text for example in found])}
    return [example for row, example in enumerate(found) if row not in repeats]


def _named(hazard: str) -> str | None:
    return None if hazard == "-" else hazard


def _table(name: str) -> list[list[str]]:
    text = (Path(__file__).parent / "texts" / f"{name}.tsv").read_text("utf-8")
    return [line.split("\t") for line in text.splitlines() if line]


def _openings(found: Iterable[Example]) -> Iterator[Example]:
    for example in found:
        yield replace(example, text=example.text[:OPENING], category=None)


def _sentences(texts: Iterable[Example]) -> Iterator[Example]:
    for found in texts:
        for piece in pieces(found.text[:OPENING]):
            yield Example(piece, found.label, found.source, found.group)


def _declining_sentences(samples: Sequence[Sample]) -> Iterator[Example]:
    """Of answers that people called harmless, the sentence among the first two that opens like a refusal."""
    for sample in samples:
        found = [piece for piece in pieces(sample.response[:OPENING])[:2] if _DECLINES.match(piece)]
        if found and not sample.label:
            yield Example(found[0], True, "gptfuzz", sample.prompt)


def examples(data: Path) -> dict[str, list[Example]]:
    """The examples of each head: "prompt", "response" and "refusal", without duplicates."""
    fuzz, harmless, toxic, wording = gptfuzz(data), benign(data), surge(data), Phrasings()
    questions = _read(data / "gptfuzz/question_list.csv", SEEN, prompt="text")
    in_context, asked, posted = diasafety(data), requests(), posts()
    answers, refusals = list(wording.answers()), list(wording.refusals())
    given = [Example(s.response, False, "benign", s.prompt) for s in harmless]
    own = [Example(answer, declines, "replies", question) for declines, question, answer in replies()]
    complied = [Example(s.response, False, "gptfuzz", s.prompt) for s in fuzz if s.label]
    heads: dict[str, list[Example]] = {
        "prompt": [
            *(Example(s.prompt, True, "ailuminate", s.prompt, s.meta["hazard"]) for s in ailuminate(data)),
            *(Example(s.prompt, True, "gptfuzz", s.prompt) for s in questions),
            *(Example(s.prompt, False, "benign", s.prompt) for s in harmless),
            *toxic,
            *in_context,
            *asked,
            *posted,
            *wording.prompts(),
        ],
        "response": [
            *(Example(s.response, bool(s.label), "gptfuzz", s.prompt) for s in fuzz),
            *(Example(found.text, False, "refusals", found.group) for found in refusals),
            *(Example(found.text, False, "replies", found.group) for found in own),
            *given,
            *toxic,
            *in_context,
            *(found for found in posted if found.category != "S11"),
            *answers,
            *answers_to_requests(),
        ],
        "refusal": [
            *_declining_sentences(fuzz),
            *refusals,
            *_openings(own),
            *_openings(given),
            *_sentences(given),
            *_sentences([e for e in own if not e.label]),
            *_sentences([Example(a.text, False, a.source, a.group) for a in answers]),
            *(found for found in _sentences(complied) if not _DECLINES.match(found.text)),
        ],
    }
    return {axis: list(dict.fromkeys(found)) for axis, found in heads.items()}
