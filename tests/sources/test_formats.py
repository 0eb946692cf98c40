"""Every row format is told by its columns and becomes the same kind of sample."""

import json
from pathlib import Path

import pytest

from safefed.config import SourceConfig
from safefed.errors import DataError
from safefed.records import Message, Sample
from safefed.sources import BadRow, describe, read_rows

U, A = "How do tides work?", "The moon pulls on the water."
TURNS = [{"role": "user", "content": U}, {"role": "assistant", "content": A}]
ONE_TURN = Sample.of(U, A)
WITH_CONTEXT = Sample.of(f"{U}\n\nFor children.", A)

ROWS = {
    "alpaca": ({"instruction": U, "input": "", "output": A}, ONE_TURN),
    "alpaca with input": ({"instruction": U, "input": "For children.", "output": A, "text": "-"}, WITH_CONTEXT),
    "alpaca without input": ({"instruction": U, "output": A}, ONE_TURN),
    "gpteacher": ({"instruction": U, "input": "For children.", "response": A}, WITH_CONTEXT),
    "dolly": ({"instruction": U, "context": "For children.", "response": A, "category": "qa"}, WITH_CONTEXT),
    "messages": ({"messages": TURNS}, ONE_TURN),
    "sharegpt": ({"conversations": [{"from": "human", "value": U}, {"from": "gpt", "value": A}]}, ONE_TURN),
    "prompt-completion": ({"prompt": U, "completion": A}, ONE_TURN),
    "prompt-completion response": ({"prompt": U, "response": A}, ONE_TURN),
    "prompt-completion lists": ({"prompt": TURNS[:1], "completion": TURNS[1:]}, ONE_TURN),
    "preference": ({"prompt": U, "chosen": A, "rejected": "No."}, ONE_TURN),
    "preference lists": ({"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": TURNS[1:]}, ONE_TURN),
    "preference whole": ({"prompt": U, "chosen": TURNS, "rejected": TURNS}, ONE_TURN),
    "preference implicit": ({"chosen": TURNS, "rejected": TURNS}, ONE_TURN),
    "hh": ({"chosen": f"\n\nHuman: {U}\n\nAssistant: {A}", "rejected": ""}, ONE_TURN),
}


def jsonl(folder: Path, *rows: object) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def outcomes(path: str, **options: object) -> list[Sample | BadRow]:
    return list(read_rows(SourceConfig.model_validate({"path": path, **options})))


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_told_by_its_columns_and_read(tmp_path, name):
    row, expected = ROWS[name]

    path = jsonl(tmp_path, row)

    assert describe(SourceConfig(path=path)).format == name.split()[0]
    (sample,) = outcomes(path)
    assert isinstance(sample, Sample)
    assert (sample.id, sample.source) == (expected.id, "rows.jsonl")


@pytest.mark.parametrize("name", ROWS)
def test_naming_the_format_reads_the_same(tmp_path, name):
    row, expected = ROWS[name]

    (sample,) = outcomes(jsonl(tmp_path, row), format=name.split()[0])

    assert sample.id == expected.id


def test_system_turn_and_several_turns_are_kept(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, *TURNS, *TURNS]

    (sample,) = outcomes(jsonl(tmp_path, {"messages": turns}))

    assert [m.role for m in sample.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert sample.messages[0] == Message("system", "Be brief.")


def test_a_blank_system_turn_is_left_out(tmp_path):
    (sample,) = outcomes(jsonl(tmp_path, {"messages": [{"role": "system", "content": " "}, *TURNS]}))

    assert sample.id == ONE_TURN.id


def test_hh_dialogue_of_two_exchanges_has_four_turns(tmp_path):
    dialogue = f"\n\nHuman: {U}\n\nAssistant: {A}\n\nHuman: Why?\n\nAssistant: Gravity."

    (sample,) = outcomes(jsonl(tmp_path, {"chosen": dialogue, "rejected": dialogue}))

    assert (len(sample.messages), sample.prompt, sample.response) == (4, "Why?", "Gravity.")


@pytest.mark.parametrize(
    ("row", "rejected"),
    [
        ({"prompt": U, "chosen": A, "rejected": "No."}, "No."),
        ({"prompt": U, "chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No."}]}, "No."),
        ({"chosen": f"\n\nHuman: {U}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {U}\n\nAssistant: No."}, "No."),
        ({"chosen": f"\n\nHuman: {U}\n\nAssistant: {A}", "rejected": "\n\nHuman: Else?\n\nAssistant: No."}, None),
        ({"prompt": U, "chosen": A, "rejected": A}, None),
        ({"prompt": U, "chosen": A, "rejected": 5}, None),
        ({"prompt": U, "chosen": A, "rejected": " "}, None),
        ({"prompt": U, "completion": A, "rejected": "No."}, None),
    ],
)
def test_the_rejected_side_comes_along_where_it_is_another_answer_to_the_same_conversation(tmp_path, row, rejected):
    (sample,) = outcomes(jsonl(tmp_path, row))

    assert (sample.id, sample.meta.get("rejected")) == (ONE_TURN.id, rejected)


def test_equal_rows_are_two_samples_with_one_id(tmp_path):
    first, second = outcomes(jsonl(tmp_path, ROWS["alpaca"][0], ROWS["alpaca"][0]))

    assert first.id == second.id


@pytest.mark.parametrize(
    ("row", "formats"),
    [
        ({"instruction": U, "input": "", "output": A, "response": A}, ("alpaca", "gpteacher")),
        ({"instruction": U, "input": "", "context": "", "response": A}, ("gpteacher", "dolly")),
        ({"prompt": U, "chosen": TURNS, "rejected": TURNS, "messages": TURNS}, ("messages", "preference")),
    ],
)
def test_two_formats_that_fit_are_an_error_that_names_the_option(tmp_path, row, formats):
    path = jsonl(tmp_path, row)

    with pytest.raises(DataError) as caught:
        outcomes(path)

    message = str(caught.value)
    assert path in message
    assert ", ".join(formats) in message
    assert f'set format = "{formats[0]}"' in message
    assert all(column in message for column in row)


def test_two_columns_for_the_answer_ask_for_the_columns(tmp_path):
    path = jsonl(tmp_path, {"prompt": U, "completion": A, "response": A})

    with pytest.raises(DataError, match='two ways; name the columns: prompt = "prompt", response = "response"'):
        outcomes(path)


def test_unknown_columns_are_named_with_the_mapping_to_type(tmp_path):
    path = jsonl(tmp_path, {"question": U, "Answer": A, "score": 3})

    with pytest.raises(DataError, match="question, Answer, score fit no known format") as caught:
        outcomes(path)

    assert 'prompt = "question", response = "Answer"' in str(caught.value)


def test_a_format_whose_columns_are_absent_is_refused(tmp_path):
    path = jsonl(tmp_path, {"question": U, "answer": A})

    with pytest.raises(DataError, match='do not fit format = "dolly"'):
        outcomes(path, format="dolly")


def test_text_in_place_of_column_names_is_not_shown(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("What would CANARY say about all of this today?,Nothing\nb,c\n")

    with pytest.raises(DataError) as caught:
        outcomes(str(path))

    assert "CANARY" not in str(caught.value)


def test_one_row_of_another_format_among_many_does_not_change_the_format(tmp_path):
    rows = [ROWS["alpaca"][0]] * 5 + [{"messages": TURNS}]

    *samples, bad = outcomes(jsonl(tmp_path, *rows))

    assert len(samples) == 5
    assert (bad.reason, bad.where, bad.index) == ("missing_key", "rows.jsonl:6", 5)


def test_a_row_that_also_has_another_formats_columns_is_bad(tmp_path):
    rows = [ROWS["alpaca"][0]] * 5 + [{**ROWS["alpaca"][0], "messages": TURNS}]

    *samples, bad = outcomes(jsonl(tmp_path, *rows))

    assert len(samples) == 5
    assert (bad.reason, bad.where) == ("two_formats", "rows.jsonl:6")


def test_describe_says_what_was_detected(tmp_path):
    path = jsonl(tmp_path, {**ROWS["dolly"][0], "toxic": "1"}, {**ROWS["dolly"][0], "toxic": "0"})

    found = describe(SourceConfig(path=path, label="toxic"))

    assert found.container == "jsonl"
    assert found.columns == ("instruction", "context", "response", "category", "toxic")
    assert found.mapping == {"prompt": "instruction + context", "response": "response", "label": "toxic"}
    assert found.why == (
        "rows.jsonl: jsonl, read as dolly (detected by its columns: instruction, context, response, category, toxic); "
        "prompt = instruction + context, response = response, label = toxic; labels of the first 2 rows: "
        "1 safe, 1 unsafe"
    )
