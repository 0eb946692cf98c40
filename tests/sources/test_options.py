"""Mapping, labels, filters, joins, buckets and limits do what their names say, or name themselves in an error."""

import csv
import hashlib
from pathlib import Path

import pytest

from safefed.config import SourceConfig
from safefed.errors import DataError
from safefed.records import Sample
from safefed.sources import BadRow, read_rows, source_files


def table(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return path


def outcomes(path: Path, **options: object) -> list[Sample | BadRow]:
    return list(read_rows(SourceConfig.model_validate({"path": str(path), **options})))


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return table(tmp_path / "answers.csv", ("q", "a", "label"), *((i % 3, f"Answer {i}.", i % 2) for i in range(6)))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = ((f"q{i}", f"Question {i}?") for i in range(3))
    return table(tmp_path / "questions.csv", ("name", "text"), *rows)


def joined(questions: Path, **changes: object) -> dict[str, object]:
    return {"prompt": "q", "response": "a", "join": {"file": str(questions), "key": "q", "column": "text", **changes}}


def test_columns_are_mapped(tmp_path):
    path = table(tmp_path / "a.csv", ("ask", "say", "more"), ("Hi?", "Hello.", "-"))

    (row,) = outcomes(path, prompt="ask", response="say")

    assert row.id == Sample.of("Hi?", "Hello.").id


def test_a_prompt_column_alone_gives_bare_prompts(tmp_path):
    path = table(tmp_path / "a.csv", ("ask",), ("Hi?",), (" ",))

    sample, bad = outcomes(path, prompt="ask")

    assert (sample.prompt, sample.response) == ("Hi?", "")
    assert bad.reason == "empty_prompt"


@pytest.mark.parametrize(
    ("value", "label"),
    [("1", True), ("1.0", True), ("UNSAFE", True), (" true ", True), ("0", False), ("safe", False), ("", None)],
)
def test_labels_are_compared_without_case_and_empty_is_unlabelled(tmp_path, value, label):
    path = table(tmp_path / "a.csv", ("prompt", "response", "toxic"), ("a", "b", value))

    (sample,) = outcomes(path, label="toxic")

    assert sample.label is label


@pytest.mark.parametrize(
    ("value", "label"), [("true", True), ("false", False), ("1", True), ("1.0", True), ("0", False), ("null", None)]
)
def test_json_labels_are_read_as_csv_spells_them(tmp_path, value, label):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"prompt": "a", "response": "b", "toxic": {value}}}\n')

    (sample,) = outcomes(path, label="toxic")

    assert sample.label is label


def test_a_label_that_is_a_list_is_a_bad_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "response": "b", "toxic": [1]}\n')

    (bad,) = outcomes(path, label="toxic")

    assert bad.reason == "bad_label"


def test_unsafe_values_replace_the_default_ones(tmp_path):
    path = table(tmp_path / "a.csv", ("prompt", "response", "kind"), ("a", "b", "Toxic"), ("a", "b", "1"))

    assert [row.label for row in outcomes(path, label="kind", unsafe_values=["toxic"])] == [True, False]


def test_where_keeps_rows_and_the_others_are_not_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = ['"n": 1', '"n": "1"', '"n": 2', '"n": null', '"m": 1']
    path.write_text("".join(f'{{"prompt": "a", "response": "b", {row}}}\n' for row in rows) + "{}\nbroken\n")

    rows = outcomes(path, where={"n": "1"})

    assert [getattr(row, "reason", "sample") for row in rows] == ["sample", "sample", "invalid_json"]
    assert rows[-1].index == 6


def test_join_replaces_row_indices_by_text(answers, questions):
    rows = outcomes(answers, **joined(questions), label="label")

    assert [row.prompt for row in rows] == ["Question 0?", "Question 1?", "Question 2?"] * 2
    assert [row.label for row in rows] == [False, True] * 3


def test_join_on_a_column_replaces_its_values(tmp_path, questions):
    path = table(tmp_path / "a.csv", ("q", "a"), ("q2", "x"), ("q0", "y"))

    rows = outcomes(path, **joined(questions, on="name"))

    assert [row.prompt for row in rows] == ["Question 2?", "Question 0?"]


@pytest.mark.parametrize("key", ["3", "-1", "", "q", "٣", "9" * 5000])
def test_a_key_that_is_not_in_the_joined_file_is_a_bad_row(tmp_path, questions, key):
    path = table(tmp_path / "a.csv", ("q", "a"), ("0", "x"), (key, "y"))

    sample, bad = outcomes(path, **joined(questions))

    assert sample.prompt == "Question 0?"
    assert (bad.reason, bad.where) == ("join_miss", "a.csv:3")


def test_a_prompt_column_of_bare_integers_asks_for_a_join(answers):
    with pytest.raises(DataError, match=r"bare integer.*join = \{ file = .*key = \"q\""):
        outcomes(answers, prompt="q", response="a")


def test_joining_a_column_of_integers_is_still_no_prompt(tmp_path, answers):
    wrong = table(tmp_path / "wrong.csv", ("text",), (10,), (11,), (12,))

    with pytest.raises(DataError, match="bare integer"):
        outcomes(answers, **joined(wrong))


def test_integers_among_other_prompts_are_prompts(tmp_path):
    path = table(tmp_path / "a.csv", ("prompt", "response"), ("7", "x"), ("seven", "y"))

    assert len(outcomes(path)) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"column": "body"}, r"questions.csv:2 has no column 'body', which join.column names; it has name, text"),
        ({"on": "id"}, r"no column 'id', which join.on names"),
        ({"key": "nr"}, r"no column for join.key = 'nr'; its columns are: q, a, label"),
        ({"file": "absent.csv"}, r"absent.csv does not exist; join.file must name a file"),
    ],
)
def test_a_wrong_join_names_its_option(answers, questions, changes, says):
    with pytest.raises(DataError, match=says):
        outcomes(answers, **joined(questions, **changes))


def test_a_joined_file_must_be_whole_and_its_keys_unique(tmp_path, answers):
    ragged = table(tmp_path / "ragged.csv", ("text", "x"), ("Question?",))
    twice = table(tmp_path / "twice.csv", ("name", "text"), ("0", "A?"), ("0", "B?"))

    with pytest.raises(DataError, match=r"ragged.csv:2 cannot be read \(ragged\)"):
        outcomes(answers, **joined(ragged))
    with pytest.raises(DataError, match=r"twice.csv:3 gives a key a second"):
        outcomes(answers, **joined(twice, on="name"))


def test_every_wrong_column_is_named_at_once(answers):
    with pytest.raises(DataError) as caught:
        outcomes(answers, prompt="x", response="y", label="z", where={"w": "1"})

    assert "prompt = 'x'; response = 'y'; label = 'z'; where.w = 'w'; its columns are: q, a, label" in str(caught.value)


def test_buckets_split_rows_by_prompt_without_loss(tmp_path):
    path = table(tmp_path / "a.csv", ("prompt", "response"), *((f"Q{i % 40}", f"A{i}") for i in range(80)))

    first, second = (outcomes(path, bucket={"of": 3, "keep": keep}) for keep in ([0, 2], [1]))

    assert len(first) + len(second) == 80
    assert not {row.prompt for row in first} & {row.prompt for row in second}
    assert {int(hashlib.sha256(row.prompt.encode()).hexdigest(), 16) % 3 for row in second} == {1}


def test_limit_counts_after_filtering(tmp_path):
    rows = ((f"Q{i}", "A", "yes" if i % 2 else "no") for i in range(10))
    path = table(tmp_path / "a.csv", ("prompt", "response", "use"), *rows)

    assert [row.prompt for row in outcomes(path, where={"use": "yes"}, limit=3)] == ["Q1", "Q3", "Q5"]


def test_no_row_left_is_an_error(tmp_path):
    path = table(tmp_path / "a.csv", ("prompt", "response"), ("a", "b"))

    with pytest.raises(DataError, match="no row is left"):
        outcomes(path, where={"response": "c"})


def test_source_files_are_the_file_and_the_one_it_joins(answers, questions):
    source = SourceConfig.model_validate({"path": str(answers), **joined(questions)})

    assert source_files(source) == [answers, questions]
    assert source_files(SourceConfig(path="a.csv")) == [Path("a.csv")]


def test_a_wrong_source_is_an_error_before_the_first_row(tmp_path):
    with pytest.raises(DataError):
        read_rows(SourceConfig(path=str(tmp_path / "absent.csv")))


def test_further_columns_come_along_as_text(tmp_path):
    path = table(tmp_path / "a.csv", ("prompt", "response", "page"), ("a", "b", "3.0"), ("c", "d", ""))

    full, empty = read_rows(SourceConfig(path=str(path)), carried={"group": "page"})

    assert (full.meta, empty.meta) == ({"group": "3"}, {})


def test_a_further_column_that_holds_no_text_makes_a_bad_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "response": "b", "page": [1]}\n')

    (bad,) = read_rows(SourceConfig(path=str(path)), carried={"group": "page"})

    assert bad.reason == "bad_column"
