"""Records round-trip through JSON; ids are content hashes; nothing measured is an error."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safefed.dataset import json_lines
from safefed.records import (
    LABELS,
    ROLES,
    EvalRecord,
    Message,
    Metric,
    PreferencePair,
    Revision,
    Sample,
    UpdateVerdict,
    Verdict,
    canonical_json,
    content_hash,
)

TEXT = st.text(max_size=12)
SHARE = st.floats(0, 1)
COUNT = st.integers(0, 2**60)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
MESSAGES = st.lists(st.builds(Message, st.sampled_from(ROLES), TEXT), max_size=4).map(tuple)
META = st.dictionaries(TEXT, SCALAR | st.lists(SCALAR, max_size=2), max_size=2)
RECORDS = {
    Message: st.builds(Message, st.sampled_from(ROLES), TEXT),
    Sample: st.builds(Sample, MESSAGES, TEXT, META),
    Verdict: st.builds(
        Verdict, TEXT, TEXT, st.dictionaries(TEXT, SHARE, max_size=3), SHARE, st.none() | TEXT,
        st.sampled_from(["keep", "revise", "drop", "error"]), TEXT, TEXT,
    ),
    Revision: st.builds(Revision, TEXT, TEXT, TEXT, TEXT, TEXT, COUNT),
    PreferencePair: st.builds(PreferencePair, TEXT, TEXT, TEXT),
    UpdateVerdict: st.builds(UpdateVerdict, COUNT, TEXT, st.booleans(), TEXT, st.dictionaries(TEXT, SHARE, max_size=2)),
    EvalRecord: st.builds(
        EvalRecord, TEXT, TEXT, TEXT, TEXT, COUNT, st.sampled_from(["stop", "length"]),
        st.dictionaries(TEXT, st.sampled_from(LABELS), max_size=2),
    ),
    Metric: st.builds(
        Metric, SHARE, st.integers(1, 10**9), COUNT, st.tuples(SHARE, SHARE), st.lists(SHARE, max_size=3).map(tuple)
    ),
}  # fmt: skip


@settings(deadline=None, max_examples=15)
@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_record_comes_back_from_json_as_it_was(kind, data):
    record = data.draw(RECORDS[kind])

    text = json.dumps(record.to_json(), allow_nan=False)

    assert kind.from_json(json.loads(text)) == record


@pytest.mark.parametrize("kind", [kind for kind in RECORDS if kind is not Sample], ids=lambda kind: kind.__name__)
def test_missing_and_unknown_fields_are_refused(kind):
    with pytest.raises(TypeError):
        kind.from_json({})
    with pytest.raises(TypeError, match="surprise"):
        kind.from_json({"surprise": 1})


SAMPLE = Sample.of("How do tides work?", "The moon pulls.", source="a.jsonl", unsafe=False)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda row: row["messages"][1].update(content="The sun pulls."),
        lambda row: row["messages"][0].update(role="system"),
        lambda row: row.update(messages=row["messages"][:1]),
        lambda row: row.update(messages=row["messages"][::-1]),
        lambda row: row.update(id="0" * 64),
        lambda row: row.update(id=row["id"][:-1]),
    ],
)
def test_a_sample_whose_text_or_id_was_changed_is_refused(tamper):
    row = json.loads(json.dumps(SAMPLE.to_json()))
    tamper(row)

    with pytest.raises(ValueError, match="is not the hash of its messages") as caught:
        Sample.from_json(row)

    assert "tides" not in str(caught.value)


@given(sample=RECORDS[Sample])
@settings(deadline=None, max_examples=50)
def test_the_id_is_the_content_hash_of_the_messages(sample):
    assert sample.id == content_hash([[message.role, message.content] for message in sample.messages])


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_a_record_comes_to_another_process_as_it_was_and_is_written_as_its_json(kind, data):
    record = data.draw(RECORDS[kind])

    copied = pickle.loads(pickle.dumps(record))

    assert copied == record
    assert copied.to_json() == record.to_json()
    assert json.loads(json_lines([record])) == json.loads(json.dumps(record.to_json()))


def test_the_id_depends_on_the_messages_alone():
    assert SAMPLE.id == Sample.of("How do tides work?", "The moon pulls.", source="other").id
    assert SAMPLE.id == content_hash([["user", "How do tides work?"], ["assistant", "The moon pulls."]])
    assert SAMPLE.id != Sample.of("How do tides work?The moon pulls.").id


def test_prompt_response_and_context_of_a_long_conversation():
    turns = [("system", "S"), ("user", "U1"), ("assistant", "A1"), ("user", "U2"), ("assistant", "A2")]
    sample = Sample(tuple(Message(role, text) for role, text in turns))

    assert (sample.prompt, sample.response, len(sample.context)) == ("U2", "A2", 4)
    assert sample.with_response("A3").messages[:-1] == sample.context
    assert sample.with_response("A3").response == "A3"
    assert sample.with_response("A3").id != sample.id


def test_a_bare_prompt_has_no_response_and_takes_one():
    bare = Sample.of("U")

    assert (bare.response, bare.label, bare.context) == ("", None, bare.messages)
    assert bare.with_response("A").id == Sample.of("U", "A").id


def test_an_empty_conversation_has_neither_prompt_nor_response():
    assert (Sample(()).prompt, Sample(()).response) == ("", "")


@pytest.mark.parametrize("n", [0, -1])
def test_a_metric_of_nothing_is_refused(n):
    with pytest.raises(ValueError, match="at least one scored case"):
        Metric(0.0, n, 5, (0.0, 1.0))


def test_canonical_json_has_one_spelling_and_no_nan():
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{"a":"\\u00e9","b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_records_cannot_be_changed():
    with pytest.raises(AttributeError):
        SAMPLE.source = "b"


@pytest.mark.parametrize(("value", "hazard"), [("S9", "S9"), ("s10", "S10"), ("S15", None), ("weapons", None)])
def test_a_hazard_is_a_code_of_the_taxonomy(value, hazard):
    assert Sample.of("hi", category=value).hazard == hazard
