import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from safefed.config import ReviseConfig
from safefed.constitution import load_constitution
from safefed.dataset import GENERATIONS
from safefed.errors import DataError, IntegrityError
from safefed.generate import FAILED, Generation, Generator, Tokens
from safefed.generations import Remembered
from safefed.preprocessing import Reviser, screen_rows
from safefed.records import Message, Sample, Verdict

HERE = Path(__file__).parent
QUESTIONS = [(Message("user", f"question {i}"),) for i in range(6)]


class Counting:
    """Answers two conversations at a time, and dies at the one that it was told."""

    def __init__(self, revision: str = "1", dies_at: int | None = None) -> None:
        self.revision, self.dies_at = revision, dies_at
        self.asked: list[str] = []

    def stream(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int
    ) -> Iterator[dict[int, Generation]]:
        for start in range(0, len(conversations), 2):
            part = dict(enumerate(conversations[start : start + 2], start))
            if self.dies_at in part:
                raise RuntimeError("died")
            self.asked += [c[0].content for c in part.values()]
            yield {i: self.says(c[0].content, max_new_tokens) for i, c in part.items()}

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        return [
            answer for part in self.stream(conversations, max_new_tokens=max_new_tokens) for answer in part.values()
        ]

    def says(self, text: str, limit: int) -> Generation:
        if text == "unanswered":
            return FAILED
        return Generation(f"{self.revision} {text} {limit} \ud800", "stop", Tokens(10, 4, 2))


def answers(generator: Generator, path: Path, questions: Any = QUESTIONS, purpose: str = "p", n: int = 9) -> Any:
    return Remembered(generator, path, purpose).generate(questions, max_new_tokens=n)


def test_answers_that_came_before_a_death_are_not_asked_for_again(tmp_path: Path):
    first, second = Counting(dies_at=4), Counting()
    with pytest.raises(RuntimeError, match="died"):
        answers(first, tmp_path / "log")

    found = answers(second, tmp_path / "log")

    assert found == Counting().generate(QUESTIONS, max_new_tokens=9)
    assert first.asked + second.asked == [c[0].content for c in QUESTIONS]


def test_equal_conversations_are_asked_once_and_other_limits_are_other_questions(tmp_path: Path):
    generator = Counting()

    found = answers(generator, tmp_path / "log", [QUESTIONS[1], QUESTIONS[0], QUESTIONS[1]])
    answers(generator, tmp_path / "log", QUESTIONS[:1], n=5)

    assert generator.asked == ["question 1", "question 0", "question 0"]
    assert found == [Counting().says(f"question {i}", 9) for i in (1, 0, 1)]


@pytest.mark.parametrize("change", [{"purpose": "q"}, {"generator": Counting("2")}])
def test_a_file_of_another_purpose_or_generator_is_thrown_away_unread(tmp_path: Path, change: dict[str, Any]):
    answers(Counting(), tmp_path / "log")
    asked = {"generator": Counting(), **change}

    found = answers(path=tmp_path / "log", **asked)

    assert len(asked["generator"].asked) == 6
    assert found == asked["generator"].generate(QUESTIONS, max_new_tokens=9)
    assert (tmp_path / "log").read_bytes().count(b"\n") == 1 + 6


def test_a_failed_conversation_is_counted_and_asked_again_by_the_next_run(tmp_path: Path):
    questions = [QUESTIONS[0], (Message("user", "unanswered"),)]
    remembered = Remembered(Counting(), tmp_path / "log", "p")

    found = remembered.generate(questions, max_new_tokens=9)
    again = Counting()
    answers(again, tmp_path / "log", questions)

    assert found[1] == FAILED
    tokens = {"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 2}
    assert remembered.counts == {"answers": 1, "failed": 1, **tokens}
    assert again.asked == ["unanswered"]


def test_a_torn_last_line_is_asked_for_again_and_damage_before_it_is_an_error(tmp_path: Path):
    answers(Counting(), tmp_path / "log")
    whole = (tmp_path / "log").read_bytes()
    generator = Counting()

    (tmp_path / "log").write_bytes(whole[:-9])
    answers(generator, tmp_path / "log")

    assert generator.asked == ["question 5"]
    (tmp_path / "log").write_bytes(whole.replace(b"question 2", b"question 7"))
    with pytest.raises(IntegrityError, match="log:4"):
        answers(generator, tmp_path / "log")


class Flags:
    name, revision, threshold = "flags", "1", 0.5

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        return [Verdict(s.id, "flags", {}, 0.5, action="revise" if "UNSAFE" in s.response else "keep") for s in samples]


def revised(out: Path, generator: Generator, **config: Any) -> dict[str, Any]:
    rows = [Sample.of(f"question {i}", f"UNSAFE answer {i}") for i in range(8)]
    reviser = Reviser(load_constitution(), ReviseConfig(**config), lambda: generator)
    return screen_rows(rows, out, action="revise", filter=Flags(), reviser=reviser, chunk=5)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stage_whose_server_fails_keeps_what_was_paid_and_ends_with_the_same_bytes_and_counts(server, tmp_path: Path):
    whole = revised(tmp_path / "whole", server.generator())
    server.faults(n7="500")

    with pytest.raises(DataError, match="--resume"):
        revised(tmp_path / "out", server.generator(concurrency=2, attempts=1))
    kept = (tmp_path / "out" / GENERATIONS).read_bytes().count(b"\n") - 1
    manifest = revised(tmp_path / "out", server.generator())

    assert kept >= 6
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert manifest == whole
    assert whole["generations"] == {
        "answers": 16, "failed": 0, "prompt_tokens": 112, "cached_tokens": 32, "completion_tokens": 176,
    }  # fmt: skip
    assert len(server.asked()["answered"]) <= 16 + 2


def test_answers_are_gone_when_the_rows_they_are_for_are_on_disk(tmp_path: Path):
    with pytest.raises(RuntimeError, match="died"):
        revised(tmp_path, Counting(dies_at=2))
    assert (tmp_path / GENERATIONS).exists()

    revised(tmp_path, Counting())

    assert not (tmp_path / GENERATIONS).exists()
    (tmp_path / GENERATIONS).touch()  # as if killed just after the manifest was written
    revised(tmp_path, Counting())
    assert not (tmp_path / GENERATIONS).exists()


def test_no_answer_is_on_disk_where_originals_may_not_be_kept(tmp_path: Path):
    with pytest.raises(RuntimeError, match="died"):
        revised(tmp_path, Counting(dies_at=4), keep_originals=False)

    assert not (tmp_path / GENERATIONS).exists()


def deaths(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "killed_revisions.py"), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def check(report: dict[str, Any], n: int) -> None:
    """Nothing lost, the same bytes, and no more paid twice than was on its way."""
    assert report["problems"] == []
    assert report["deaths"] >= n
    assert GENERATIONS not in report["files"]


def test_a_kill_between_two_writes_of_a_revision_changes_nothing(tmp_path: Path):
    check(deaths(tmp_path, "fsync", "9"), 3)


@pytest.mark.slow
def test_a_kill_at_any_write_or_at_25_moments_loses_at_most_one_batch_of_a_local_model(tmp_path: Path):
    for mode, n in (("fsync", "1"), ("random", "25")):
        (tmp_path / mode).mkdir()
        check(deaths(tmp_path / mode, mode, n), 25)


@pytest.mark.slow
def test_25_kills_lose_at_most_the_requests_that_are_on_their_way_to_an_endpoint(server, tmp_path: Path):
    check(deaths(tmp_path, "random", "25", server.url), 25)
