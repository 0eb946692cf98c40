import pytest

from safefed.errors import ConfigError, DataError
from safefed.fitting.data import answers_seen, balanced, read_labelled, split
from safefed.records import Message, Sample


def test_what_is_left_out_is_counted_by_reason(write_rows, toy, tmp_path):
    rows = list(toy(60))
    extra = [("", "x", 1, ""), ("unlabelled", "x", "", ""), rows[0], (rows[1][0], rows[1][1], 1, "")]

    found = read_labelled(write_rows(tmp_path / "rows.csv", [*rows, *extra]), None, None)

    assert dict(found.counts) == {
        "n_in": 64, "labelled": 59, "unlabelled": 1, "unusable": 1, "repeated": 2, "disputed": 1,
    }  # fmt: skip
    assert len(found.samples) == 59


def test_too_few_rows_or_rows_of_one_kind_are_refused_with_what_to_do(write_rows, toy, tmp_path):
    rows = list(toy(60))
    few, alike, unlabelled = (tmp_path / name for name in ("few.csv", "alike.csv", "unlabelled.csv"))

    with pytest.raises(DataError, match=r"39 labelled rows can be used, fitting needs 40 \(unlabelled 0"):
        read_labelled(write_rows(few, rows[:39]), None, None)
    with pytest.raises(DataError, match=r"0 rows are unsafe and 60 safe.*--unsafe-value"):
        read_labelled(write_rows(alike, rows, unsafe_values=["bad"]), None, None)
    with pytest.raises(ConfigError, match="--label COL"):
        read_labelled(write_rows(unlabelled, rows, label=None), None, None)


def test_a_category_column_without_any_hazard_and_a_column_that_is_not_there_are_refused(write_rows, toy, tmp_path):
    source = write_rows(tmp_path / "rows.csv", toy(60))

    with pytest.raises(DataError, match="no row has a hazard from S1 to S14 in 'document'"):
        read_labelled(source, None, "document")
    with pytest.raises(DataError, match="no column for group = 'page'"):
        read_labelled(source, "page", None)


def test_rows_of_one_named_group_stay_on_one_side(write_rows, toy, tmp_path):
    rows = read_labelled(write_rows(tmp_path / "rows.csv", toy(60)), "document", None)

    found = split(rows, 0.3, 0)

    sides = [{rows.samples[i].meta["group"] for i in side} for side in (found.fit, found.held_out)]
    assert not sides[0] & sides[1]
    assert found.facts()["groups"] == 30


def test_answers_tie_no_rows_but_those_seen_are_counted():
    fit = [Sample.of("ask one", "I am sorry."), Sample.of("ask two", "Yes, gladly.")]
    held_out = [Sample.of("ask three", "i am SORRY"), Sample.of("ask four", "No."), Sample.of("ask five")]

    assert answers_seen(fit, held_out) == 1


def test_a_shared_system_turn_ties_no_rows(write_rows, toy, tmp_path):
    rows = read_labelled(write_rows(tmp_path / "rows.csv", toy(60)), None, None)
    system = Message("system", " ".join(["be kind and brief in all that is said here"] * 9))
    samples = [Sample((system, *sample.messages), meta=sample.meta) for sample in rows.samples]

    assert split(type(rows)(samples, rows.counts), 0.2, 0).facts()["groups"] == 60


def test_the_rarer_label_is_repeated_until_both_weigh_about_the_same():
    rows = balanced(["bad", *"abcdef"], [True, *[False] * 6])

    assert (rows.count("bad"), len(rows)) == (6, 12)
    assert balanced(["a", "b"], [False, False]) == ["a", "b"]
