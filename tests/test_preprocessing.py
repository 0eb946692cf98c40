import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from safefed.config import PolicyConfig, ReviseConfig, SourceConfig
from safefed.constitution import load_constitution
from safefed.dataset import FILES, JOURNAL, DatasetWriter
from safefed.errors import ConfigError, DataError, IntegrityError, SafefedError
from safefed.filters import Filter, load_filter
from safefed.generate import Generation, Generator
from safefed.preprocessing import Reviser, load_dataset_rows, preprocess, screen_rows
from safefed.records import Message, Sample, Verdict
from safefed.sources import BadRow
from safefed.store import read_jsonl, read_sealed

CONSTITUTION = load_constitution()
HERE = Path(__file__).parent


class WordFilter:
    """Flags answers with UNSAFE, cannot score answers with UNREADABLE."""

    name = "words"

    def __init__(self, revision: str = "1", threshold: float = 0.5):
        self.revision = revision
        self.threshold = threshold
        self.seen: list[Sample] = []

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        self.seen += samples
        return [self._verdict(sample) for sample in samples]

    def _verdict(self, sample: Sample) -> Verdict:
        if "UNREADABLE" in sample.response:
            return Verdict(sample.id, "words", {}, 1.0, action="error", reason="too-strange")
        flagged = "UNSAFE" in sample.response
        action = "revise" if flagged else "keep"
        return Verdict(sample.id, "words", {"response": float(flagged)}, float(flagged), "S2", action, "words")  # type: ignore[arg-type]


class Writer:
    """Answers everything with a text of its own; a request with HOPELESS gets the unsafe text back."""

    def __init__(self, revision: str = "writer-1"):
        self.revision = revision

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:  # noqa: ARG002
        texts = [c[0].content for c in conversations]
        return [
            Generation("UNSAFE still" if "HOPELESS" in text else "No, it would hurt people.", "stop") for text in texts
        ]


def never() -> Generator:
    raise RuntimeError("the model was loaded")


def reviser(generator: Callable[[], Generator] = Writer, **config: Any) -> Reviser:
    return Reviser(CONSTITUTION, ReviseConfig.model_validate(config), generator)


def some_rows(n: int = 20) -> list[Sample | BadRow]:
    rows: list[Sample | BadRow] = [Sample.of(f"question {i}", f"answer {i}", unsafe=False) for i in range(n)]
    rows[2] = Sample.of("question 2", "UNSAFE 2", source="here", unsafe=True, n=2)
    rows[5] = Sample.of("HOPELESS question 5", "UNSAFE 5", unsafe=True)
    rows[7] = BadRow(7, "rows.jsonl:8", "invalid_json", b'{"torn \xff')
    rows[8] = Sample.of("question 8", "UNREADABLE")
    rows[11] = Sample.of("question 2", "UNSAFE 2", source="there", n=11)
    return rows


def screened(
    out: Path, rows: Sequence[Sample | BadRow] | Iterator[Sample | BadRow] | None = None, **options: Any
) -> Any:
    settings = {"action": "revise", "filter": WordFilter(), "reviser": reviser(), "chunk": 4}
    return screen_rows(some_rows() if rows is None else rows, out, **{**settings, **options})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class PulledPlugError(Exception):
    """Stands for whatever ends a run in its middle."""


def until(n: int, rows: Sequence[Sample | BadRow] | None = None) -> Iterator[Sample | BadRow]:
    yield from (rows or some_rows())[:n]
    raise PulledPlugError


def interrupted(out: Path, n: int = 14, **options: Any) -> None:
    with pytest.raises(PulledPlugError):
        screened(out, until(n), **options)


def test_every_row_has_one_outcome_and_the_manifest_adds_up(tmp_path: Path):
    manifest = screened(tmp_path / "out", reviser=reviser(fallback="drop"))

    outcomes = {key: manifest[key] for key in ("n_in", "kept", "revised", "dropped", "errored")}
    assert outcomes == {"n_in": 20, "kept": 15, "revised": 2, "dropped": 1, "errored": 2}
    verdicts = list(read_jsonl(tmp_path / "out" / "verdicts.jsonl"))
    assert len(verdicts) == 20
    assert [v["action"] for v in verdicts].count("revise") == 2
    assert len(load_dataset_rows(tmp_path / "out")) == 17


def test_the_manifest_says_how_the_data_set_was_made(tmp_path: Path):
    manifest = screened(tmp_path / "out", about={"source": ["mine"]})

    expected = {
        "action": "revise", "filter": "words", "filter_revision": "1", "threshold": 0.5, "constitution": "default",
        "constitution_revision": CONSTITUTION.revision, "generator_revision": "writer-1", "source": ["mine"],
        "constitution_version": "1", "fallbacks": 1, "pairs": 2, "errors": {"invalid_json": 1, "too-strange": 1},
    }  # fmt: skip
    assert expected.items() <= manifest.items()
    assert set(manifest["files"]) == set(FILES)
    assert manifest["by_label"]["unsafe"] == {"kept": 0, "revised": 2, "dropped": 0, "errored": 0}


def test_a_revised_row_stands_without_its_unsafe_original(tmp_path: Path):
    screened(tmp_path / "out")

    assert b"UNSAFE" not in (tmp_path / "out" / "data.jsonl").read_bytes()
    revised = load_dataset_rows(tmp_path / "out")[2]
    assert revised.prompt == "question 2"
    assert revised.meta == {"n": 2, "revised": True}
    (first, *_) = read_jsonl(tmp_path / "out" / "pairs.jsonl")
    assert first["rejected"] == "UNSAFE 2"


def test_equal_rows_are_screened_once_and_each_keeps_its_own_outcome(tmp_path: Path):
    judge = WordFilter()

    screened(tmp_path / "out", filter=judge, chunk=100)

    originals = [s.id for s in judge.seen if not s.meta.get("revised")]
    assert len(originals) == len(set(originals)) == 18
    twins = [s for s in load_dataset_rows(tmp_path / "out") if s.prompt == "question 2"]
    assert [(s.source, s.meta["n"]) for s in twins] == [("here", 2), ("there", 11)]


def test_unusable_rows_wait_in_quarantine_with_their_bytes(tmp_path: Path):
    screened(tmp_path / "out")

    bad, strange = read_jsonl(tmp_path / "out" / "quarantine.jsonl")
    assert (bad["where"], bad["reason"]) == ("rows.jsonl:8", "invalid_json")
    assert base64.b64decode(bad["raw"]) == b'{"torn \xff'
    assert (strange["where"], strange["reason"]) == ("row 8", "too-strange")
    assert Sample.from_json(json.loads(base64.b64decode(strange["raw"]))) == some_rows()[8]


def test_drop_leaves_flagged_rows_out_and_asks_no_model(tmp_path: Path):
    manifest = screened(tmp_path / "out", action="drop", reviser=reviser(never))

    assert (manifest["kept"], manifest["revised"], manifest["dropped"], manifest["errored"]) == (15, 0, 3, 2)
    assert manifest["generator_revision"] is None


def test_oracle_drops_what_its_label_calls_unsafe_and_counts_the_unlabelled(tmp_path: Path):
    manifest = screened(tmp_path / "out", action="oracle", filter=None, reviser=None)

    assert (manifest["kept"], manifest["dropped"], manifest["errored"]) == (17, 2, 1)
    assert manifest["unlabelled"] == 2
    assert not any(s.label for s in load_dataset_rows(tmp_path / "out"))


def test_keep_keeps_every_readable_row_and_does_not_claim_to_have_screened(tmp_path: Path):
    manifest = screened(tmp_path / "out", action="keep", filter=None, reviser=None)

    assert load_dataset_rows(tmp_path / "out") == [row for row in some_rows() if isinstance(row, Sample)]
    assert "filter" not in manifest
    verdicts = [v for v in read_jsonl(tmp_path / "out" / "verdicts.jsonl") if v["action"] == "keep"]
    assert {(v["filter"], v["reason"]) for v in verdicts} == {("none", "not-screened")}


def test_no_model_is_loaded_when_nothing_is_flagged(tmp_path: Path):
    rows = [Sample.of(f"q{i}", "fine") for i in range(9)]

    assert screened(tmp_path / "out", rows, reviser=reviser(never))["kept"] == 9


def test_an_action_without_what_it_needs_is_a_config_error(tmp_path: Path):
    for options in ({"action": "drop", "filter": None}, {"reviser": None}, {"action": "delete"}):
        with pytest.raises(ConfigError):
            screened(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("n", [0, 3, 4, 11, 19, 20])
def test_an_interrupted_run_resumes_to_the_same_bytes_and_redoes_at_most_one_chunk(tmp_path: Path, n: int):
    judge = WordFilter()
    screened(tmp_path / "whole")

    interrupted(tmp_path / "out", n, filter=judge)
    screened(tmp_path / "out", filter=judge)

    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert sum(not s.meta.get("revised") for s in judge.seen) <= 19 + 4


def two_last_records(data: bytes) -> range:
    """Every length of a file that ends within its last two lines."""
    return range(data[:-1].rfind(b"\n", 0, data[:-1].rfind(b"\n")) + 1, len(data))


@pytest.mark.parametrize("name", ["data.jsonl", "verdicts.jsonl"])
def test_a_file_cut_at_any_byte_of_its_last_two_records_is_taken_back_to_the_last_chunk(tmp_path: Path, name: str):
    interrupted(tmp_path / "out", 8)
    mark = (tmp_path / "out" / name).read_bytes()
    interrupted(tmp_path / "more", 12)
    longer = (tmp_path / "more" / name).read_bytes()
    settings = read_sealed(tmp_path / "out" / JOURNAL)["settings"]  # type: ignore[index]

    for size in two_last_records(longer):
        (tmp_path / "out" / name).unlink()
        (tmp_path / "out" / name).write_bytes(longer[:size])

        DatasetWriter(tmp_path / "out", settings)

        assert (tmp_path / "out" / name).read_bytes() == mark


def test_finished_records_that_are_cut_at_any_byte_are_damage_that_is_named(tmp_path: Path):
    interrupted(tmp_path / "out", 8)
    whole = (tmp_path / "out" / "data.jsonl").read_bytes()
    settings = read_sealed(tmp_path / "out" / JOURNAL)["settings"]  # type: ignore[index]

    for size in two_last_records(whole):
        (tmp_path / "out" / "data.jsonl").unlink()
        (tmp_path / "out" / "data.jsonl").write_bytes(whole[:size])

        with pytest.raises(IntegrityError, match=r"data\.jsonl changed since its last finished chunk"):
            DatasetWriter(tmp_path / "out", settings)


def test_a_journal_that_was_changed_or_cut_is_damage_that_names_file_and_line(tmp_path: Path):
    interrupted(tmp_path / "out")
    journal = tmp_path / "out" / JOURNAL
    whole = journal.read_bytes()
    damaged = [whole[:i] + bytes([byte ^ 1]) + whole[i + 1 :] for i, byte in enumerate(whole)]

    for data in [*damaged, *(whole[:size] for size in range(len(whole)))]:
        journal.unlink()
        journal.write_bytes(data)
        with pytest.raises(IntegrityError, match=r"journal\.json:1 is damaged"):
            DatasetWriter(tmp_path / "out", {})


def test_the_journal_is_as_long_after_many_chunks_as_after_few(tmp_path: Path):
    rows = [Sample.of(f"q{i}", "fine") for i in range(60)]
    for n in (8, 59):
        with pytest.raises(PulledPlugError):
            screened(tmp_path / str(n), until(n, rows), chunk=2)

    few, many = ((tmp_path / str(n) / JOURNAL).stat().st_size for n in (8, 59))

    assert many - few < 20


def test_rows_with_much_text_end_a_chunk_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("safefed.preprocessing.CHUNK_CHARACTERS", 20)
    rows = [Sample.of("q", "a" * 30), *(Sample.of("q", f"a{i}") for i in range(9))]
    with pytest.raises(PulledPlugError):
        screened(tmp_path / "out", until(9, rows), chunk=100)

    assert read_sealed(tmp_path / "out" / JOURNAL)["chunks"] == 2  # type: ignore[index]


def test_what_a_kill_left_of_a_journal_or_manifest_is_removed(tmp_path: Path):
    interrupted(tmp_path / "out")
    for name in (".journal.json.x.tmp", ".manifest.json.x.tmp", ".mine.tmp"):
        (tmp_path / "out" / name).touch()

    screened(tmp_path / "out")

    assert set(content(tmp_path / "out")) == {*FILES, "manifest.json", ".mine.tmp"}


INSTALLED = """
import os
from pathlib import Path
from safefed.records import Verdict

class Installed:
    def __init__(self, argument=None, *, threshold=0.5):
        self.name, self.revision, self.threshold = f"installed:{argument}", "1", threshold
        self.fatal = Path(argument)

    def score(self, samples):
        if self.fatal.exists() and any("FATAL" in s.response for s in samples):
            os._exit(1)
        return [
            Verdict(s.id, self.name, {"response": 0.5}, 0.5, action="revise" if "UNSAFE" in s.response else "keep")
            for s in samples
        ]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filter:
    """A third party's filter, which worker processes find too; it dies of FATAL while a file ``fatal`` is there."""
    folder = tmp_path / "site"
    (folder / "toy_filter-1.dist-info").mkdir(parents=True)
    (folder / "toy_filter-1.dist-info" / "METADATA").write_text("Name: toy-filter\nVersion: 1\n")
    entry = "[safefed.filters]\ninstalled = toy_filter:Installed\n"
    (folder / "toy_filter-1.dist-info" / "entry_points.txt").write_text(entry)
    (folder / "toy_filter.py").write_text(INSTALLED)
    monkeypatch.syspath_prepend(str(folder))
    return load_filter(f"installed:{tmp_path / 'fatal'}")


@pytest.mark.parametrize(("action", "axis"), [("revise", {}), ("drop", {"response": "keep"})])
def test_workers_give_the_same_bytes_and_may_take_over_from_a_run_without(
    tmp_path: Path, installed: Filter, action: str, axis: dict[str, Any]
):
    options: dict[str, Any] = {"filter": installed, "action": action, "policy": PolicyConfig(axis=axis)}
    whole = screened(tmp_path / "whole", **options)
    interrupted(tmp_path / "out", **options)

    again = screened(tmp_path / "out", workers=2, **options)

    assert again == whole
    assert whole["policy_kept" if axis else "revised"] > 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_worker_that_dies_is_an_error_that_says_how_to_go_on_and_the_folder_is_resumed(
    tmp_path: Path, installed: Filter
):
    rows = [Sample.of(f"q{i}", "FATAL" if i == 9 else "fine") for i in range(20)]
    screened(tmp_path / "whole", rows, filter=installed)
    (tmp_path / "fatal").touch()

    with pytest.raises(SafefedError, match="go on with --resume"):
        screened(tmp_path / "out", rows, filter=installed, workers=2)
    (tmp_path / "fatal").unlink()
    screened(tmp_path / "out", rows, filter=installed)

    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_filter_that_workers_cannot_load_is_refused_and_the_folder_stays_to_be_resumed(tmp_path: Path):
    with pytest.raises(ConfigError, match="words"):
        screened(tmp_path / "out", workers=2)

    assert screened(tmp_path / "out")["n_in"] == 20


def test_no_workers_at_all_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="workers is 0"):
        screened(tmp_path / "out", workers=0)


def test_bytes_beyond_the_last_chunk_are_cut_off_on_resume(tmp_path: Path):
    screened(tmp_path / "whole")
    interrupted(tmp_path / "out")
    for name in FILES:
        with (tmp_path / "out" / name).open("ab") as handle:
            handle.write(b'{"half a li')

    screened(tmp_path / "out")

    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_unfinished_folder_is_never_read_as_a_data_set(tmp_path: Path):
    interrupted(tmp_path / "out")

    with pytest.raises(DataError, match="no finished data set"):
        load_dataset_rows(tmp_path / "out")


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"filter": WordFilter(threshold=0.6)}, r"threshold: 0\.5 there, 0\.6 now"),
        ({"filter": WordFilter("2")}, "filter_revision"),
        ({"action": "drop"}, "action"),
        ({"reviser": reviser(attempts=2)}, "revise"),
        ({"about": {"source_sha256": "other"}}, "source_sha256"),
        ({"chunk": 5}, "chunk"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], named: str, finish: bool
):
    screened(tmp_path / "out") if finish else interrupted(tmp_path / "out")
    before = content(tmp_path / "out")

    with pytest.raises(ConfigError, match=named):
        screened(tmp_path / "out", **change)

    assert content(tmp_path / "out") == before


def test_an_unfinished_folder_is_refused_and_left_alone_when_it_may_not_be_resumed(tmp_path: Path):
    interrupted(tmp_path / "out")
    before = content(tmp_path / "out")

    with pytest.raises(ConfigError, match="add --resume to go on"):
        screened(tmp_path / "out", resume=False)

    assert content(tmp_path / "out") == before


def test_a_folder_without_a_finished_chunk_has_nothing_to_resume(tmp_path: Path):
    interrupted(tmp_path / "out", 3)

    assert screened(tmp_path / "out", resume=False)["n_in"] == 20


def test_settings_may_still_change_while_no_chunk_is_finished(tmp_path: Path):
    interrupted(tmp_path / "out", 3)

    assert screened(tmp_path / "out", filter=WordFilter(threshold=0.6))["threshold"] == 0.6


def test_a_finished_folder_returns_its_manifest_without_work(tmp_path: Path):
    manifest = screened(tmp_path / "out")
    judge = WordFilter()

    again = screened(tmp_path / "out", until(0), filter=judge, reviser=reviser(never))

    assert again == manifest
    assert judge.seen == []


def test_other_rows_in_a_finished_chunk_are_refused(tmp_path: Path):
    interrupted(tmp_path / "out")
    rows = some_rows()
    rows[1] = Sample.of("question 1", "another answer")

    with pytest.raises(ConfigError, match="other input rows"):
        screened(tmp_path / "out", rows)
    with pytest.raises(ConfigError, match="more input rows"):
        screened(tmp_path / "out", some_rows()[:4])


def test_another_model_in_the_middle_is_refused(tmp_path: Path):
    rows = [Sample.of(f"q{i}", f"UNSAFE {i}") for i in range(16)]
    with pytest.raises(PulledPlugError):
        screened(tmp_path / "out", until(10, rows))

    with pytest.raises(ConfigError, match="generator_revision"):
        screened(tmp_path / "out", rows, reviser=reviser(lambda: Writer("writer-2")))


@pytest.mark.parametrize("name", FILES)
def test_a_file_changed_behind_our_back_is_named(tmp_path: Path, name: str):
    interrupted(tmp_path / "unfinished", 19)
    screened(tmp_path / "finished")

    for folder in (tmp_path / "unfinished", tmp_path / "finished"):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(IntegrityError, match=name):
            screened(folder)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "data.jsonl").write_text("precious")

    with pytest.raises(ConfigError, match=r"already holds data\.jsonl"):
        screened(tmp_path)

    assert content(tmp_path) == {"data.jsonl": b"precious"}


@pytest.mark.parametrize("rows", [[], [BadRow(0, "f:1", "invalid_json", b"x")] * 9])
def test_a_source_without_one_usable_row_is_an_error_and_leaves_nothing_behind(tmp_path: Path, rows: list[BadRow]):
    with pytest.raises(DataError, match=f"not one row of {len(rows)} can be used"):
        screened(tmp_path / "out", rows)

    assert content(tmp_path / "out") == {}


def test_text_that_has_no_utf8_survives_the_round_trip(tmp_path: Path):
    rows = [Sample.of("lone \ud800 surrogate", "NUL \0, line \u2028 separator, \u00e9")]

    screened(tmp_path / "out", rows)

    assert load_dataset_rows(tmp_path / "out") == rows


def test_files_are_read_and_their_hashes_recorded(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,response,label\nq1,a1,0\nq2,a2,1\nq3,a3,0\n")
    source = SourceConfig(path=str(path), prompt="prompt", response="response", label="label")

    manifest = preprocess(source, tmp_path / "out", action="oracle")

    assert (manifest["n_in"], manifest["kept"], manifest["dropped"]) == (3, 2, 1)
    assert manifest["source"][0]["path"] == str(path)
    path.write_text("prompt,response,label\nq1,a1,0\nq2,a2,1\n")
    with pytest.raises(ConfigError, match="source_sha256"):
        preprocess(source, tmp_path / "out", action="oracle")


def test_several_sources_follow_one_another(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "completion": "a"}) + "\n")
    sources = [SourceConfig(path=str(tmp_path / f"{name}.jsonl")) for name in ("two", "one")]

    preprocess(sources, tmp_path / "out", action="keep")

    assert [s.prompt for s in load_dataset_rows(tmp_path / "out")] == ["two", "one"]


def test_a_file_that_does_not_exist_leaves_no_folder(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        preprocess(tmp_path / "absent.jsonl", tmp_path / "out", action="keep")

    assert not (tmp_path / "out").exists()


def deaths(folder: Path, mode: str, n: int) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "killed_preprocess.py"), str(folder), mode, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_kill_at_any_write_loses_nothing_and_the_resumed_output_is_byte_identical(tmp_path: Path):
    report = deaths(tmp_path, "fsync", 0)

    assert report["problems"] == []
    assert report["deaths"] >= 10
    assert JOURNAL not in report["files"]


@pytest.mark.slow
def test_kills_at_50_random_moments_lose_nothing(tmp_path: Path):
    report = deaths(tmp_path, "random", 50)

    assert report["problems"] == []
    assert report["deaths"] == 50


class Wavering(Writer):
    """Quotes the answer in its critique; gives nothing at all to a request with SILENT."""

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        texts = [c[0].content for c in conversations]
        answers = super().generate(conversations, max_new_tokens=max_new_tokens)
        quoted = [Generation(f"It says: {text}", "stop") for text in texts]
        wrote = [a if "\nCritique: " in t else q for t, a, q in zip(texts, answers, quoted, strict=True)]
        return [Generation("", "error") if "SILENT" in t else w for t, w in zip(texts, wrote, strict=True)]


def flagged_rows() -> list[Sample | BadRow]:
    rows = some_rows()
    rows[3] = Sample.of("SILENT question 3", "UNSAFE 3")
    rows[7] = BadRow(7, "rows.jsonl:8", "invalid_json", b'{"torn UNSAFE \xff')
    rows[8] = Sample.of("question 8", "UNREADABLE UNSAFE 8")
    return rows


def test_a_row_that_the_generator_failed_is_an_error_in_quarantine_and_its_neighbours_are_untouched(tmp_path: Path):
    manifest = screened(tmp_path / "out", flagged_rows(), reviser=reviser(Wavering))

    assert manifest["errors"] == {"invalid_json": 1, "too-strange": 1, "words; no-generation": 1}
    assert [row["where"] for row in read_jsonl(tmp_path / "out" / "quarantine.jsonl")] == [
        "row 3", "rows.jsonl:8", "row 8",
    ]  # fmt: skip
    assert [s.prompt for s in load_dataset_rows(tmp_path / "out")][:4] == [f"question {n}" for n in (0, 1, 2, 4)]


@pytest.mark.parametrize("rows_read", [12, 20])
def test_without_originals_no_byte_of_a_flagged_answer_is_in_the_folder(tmp_path: Path, rows_read: int):
    with_them, without = tmp_path / "with", tmp_path / "without"
    kept = screened(with_them, flagged_rows(), reviser=reviser(Wavering))
    wanted = reviser(Wavering, keep_originals=False)

    if rows_read == 20:
        manifest = screened(without, flagged_rows(), reviser=wanted)
        outcomes = ("n_in", "kept", "revised", "dropped", "errored")
        assert [manifest[key] for key in outcomes] == [kept[key] for key in outcomes]
        assert (manifest["pairs"], manifest["revise"]["keep_originals"]) == (0, False)
    else:
        with pytest.raises(PulledPlugError):
            screened(without, until(rows_read, flagged_rows()), reviser=wanted)
        assert (without / JOURNAL).exists()

    forms = [form for text in (b"UNSAFE", b"UNREADABLE") for form in (text, *_in_base64(text))]
    found = {name: [form in data for form in forms] for name, data in content(without).items()}
    assert not any(map(any, found.values()))
    assert b"UNSAFE" in (with_them / "pairs.jsonl").read_bytes()
    assert b"UNSAFE" in (with_them / "revisions.jsonl").read_bytes()
    assert any(form in (with_them / "quarantine.jsonl").read_bytes() for form in forms)


def _in_base64(text: bytes) -> list[bytes]:
    """What ``text`` looks like in base64, at each of the three places it may begin."""
    return [base64.b64encode(b"x" * shift + text)[4 if shift else 0 : -4] for shift in range(3)]


def stated_rows() -> list[Sample | BadRow]:
    earlier = Sample.of("first", "answer").messages
    return [
        Sample.of("question 0", "answer 0", rejected="UNSAFE rejected 0", n=0),
        Sample.of("question 1", "UNSAFE 1", rejected="polite 1"),  # flipped: what is wanted is what must not be learnt
        Sample.of("HOPELESS question 2", "UNSAFE 2", rejected="polite 2"),
        Sample((*earlier, *Sample.of("question 3", "answer 3").messages), meta={"rejected": "UNSAFE rejected 3"}),
        Sample.of("question 4", "UNREADABLE 4", rejected="polite 4"),
        Sample.of("question 5", "answer 5"),
    ]


def pairs_of(folder: Path) -> list[tuple[str, str]]:
    return [(row["chosen"], row["rejected"]) for row in read_jsonl(folder / "pairs.jsonl")]


@pytest.mark.parametrize(
    ("action", "more"), [("keep", [("UNSAFE 1", "polite 1"), ("UNSAFE 2", "polite 2"), ("UNREADABLE 4", "polite 4")]),
                         ("drop", []), ("revise", [("No, it would hurt people.", "UNSAFE 1")])],
)  # fmt: skip
def test_a_kept_row_of_preference_data_is_its_pair_and_a_flagged_one_is_not_believed(tmp_path: Path, action, more):
    manifest = screened(tmp_path / "out", stated_rows(), action=action)

    assert pairs_of(tmp_path / "out") == [("answer 0", "UNSAFE rejected 0"), *more]
    assert manifest["pairs"] == 1 + len(more)
    assert all("rejected" not in sample.meta for sample in load_dataset_rows(tmp_path / "out"))
    assert b"rejected" not in (tmp_path / "out" / "data.jsonl").read_bytes()


@pytest.mark.parametrize(("action", "kept"), [("keep", 6), ("drop", 3), ("revise", 3)])
def test_without_originals_there_is_no_stated_pair_since_no_screen_saw_what_it_rejects(tmp_path: Path, action, kept):
    options = {"reviser": reviser(keep_originals=False)} if action == "revise" else {"keep_originals": False}
    manifest = screened(tmp_path / "out", stated_rows(), action=action, **options)

    assert (manifest["pairs"], manifest["kept"], pairs_of(tmp_path / "out")) == (0, kept, [])
    assert not any(b"polite" in data for data in content(tmp_path / "out").values())


def test_a_data_set_with_originals_is_not_taken_for_one_without(tmp_path: Path):
    screened(tmp_path / "out", action="drop")

    with pytest.raises(ConfigError, match="keep_originals"):
        screened(tmp_path / "out", action="drop", keep_originals=False)


def test_rows_that_are_dropped_and_not_revised_leave_no_byte_behind_either(tmp_path: Path):
    screened(tmp_path / "out", action="drop", keep_originals=False)

    forms = [form for text in (b"UNSAFE", b"UNREADABLE") for form in (text, *_in_base64(text))]
    assert not any(form in data for form in forms for data in content(tmp_path / "out").values())
