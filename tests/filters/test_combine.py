import math

import pytest

from safefed.filters.combine import combine, combine_judged, deciding_axis, score_exchanges, to_verdict
from safefed.records import Sample

COMPLIES = {"prompt": 0.9, "response": 0.1, "refusal": 0.05}
REFUSES = {"prompt": 0.9, "response": 0.1, "refusal": 0.98}


def verdict(*rows, threshold=0.5):
    return to_verdict("id", rows, name="f", revision="r", threshold=threshold)


def test_a_harmful_prompt_is_unsafe_only_when_the_answer_complies():
    assert combine(COMPLIES) == pytest.approx(0.9 * 0.95)
    assert combine(REFUSES) == 0.1


def test_an_answer_that_is_harmful_in_itself_is_unsafe_whatever_was_asked():
    assert combine({"prompt": 0.0, "response": 0.8, "refusal": 0.0}) == 0.8
    assert combine({"response": 0.8}) == 0.8


def test_a_bare_prompt_is_as_unsafe_as_the_prompt():
    assert combine({"prompt": 0.7}) == 0.7


def test_without_a_refusal_axis_every_answer_counts_as_complying():
    assert combine({"prompt": 0.7, "response": 0.1}) == 0.7


@pytest.mark.parametrize("scores", [{}, {"refusal": 0.1}])
def test_nothing_measured_is_an_error_not_a_number(scores):
    with pytest.raises(ValueError, match="neither"):
        combine(scores)


@pytest.mark.parametrize("axis", ["prompt", "response", "refusal"])
def test_nan_on_any_axis_is_an_error_verdict_that_is_never_kept(axis):
    assert math.isnan(combine(COMPLIES | {axis: math.nan}))

    found = verdict(REFUSES, REFUSES | {axis: math.nan})

    assert (found.action, found.unsafe, found.scores) == ("error", 1.0, {})


@pytest.mark.parametrize("value", [-0.1, 1.1, math.inf])
def test_a_score_that_is_no_probability_is_an_error_verdict(value):
    assert verdict({"prompt": value}).action == "error"


def test_a_sample_without_text_is_an_error_verdict():
    assert verdict().reason == verdict({"refusal": 0.2}).reason == "nothing-to-score"


def test_the_threshold_itself_is_unsafe():
    assert verdict({"prompt": 0.5}).action == "revise"
    assert verdict({"prompt": 0.499}).action == "keep"
    assert verdict({"prompt": 0.0}, threshold=0.0).action == "revise"


def test_the_worst_exchange_decides_and_says_why():
    found = verdict(REFUSES, COMPLIES, {"prompt": 0.0, "response": 0.0})

    assert (found.scores, found.reason, found.action) == (COMPLIES, "harmful-prompt-complied", "revise")
    assert verdict({"response": 0.9}).reason == "harmful-response"
    assert verdict({"prompt": 0.9}).reason == "harmful-prompt"
    assert verdict({"prompt": 0.1}).reason == "below-threshold"


def test_equal_texts_are_scored_once_per_axis():
    asked: list[tuple[str, tuple[str, ...]]] = []

    def score(axis, texts):
        asked.append((axis, tuple(texts)))
        return [0.25] * len(texts)

    rows = score_exchanges([Sample.of("a", "b"), Sample.of("a", "c"), Sample.of("a", "b")], score)

    assert asked == [("prompt", ("a",)), ("response", ("b", "c")), ("refusal", ("b", "c"))]
    assert rows == [[{"prompt": 0.25, "response": 0.25, "refusal": 0.25}]] * 3


@pytest.mark.parametrize(
    ("scores", "axis"),
    [
        ({"prompt": 0.9}, "prompt"),
        ({"response": 0.9}, "response"),
        ({"prompt": 0.9, "response": 0.8, "refusal": 0.0}, "prompt"),
        ({"prompt": 0.9, "response": 0.8, "refusal": 0.5}, "response"),
        ({"prompt": 0.9, "response": 0.9}, "response"),
        ({"prompt": 0.0}, "prompt"),
        ({"refusal": 0.9}, None),
        ({}, None),
    ],
)
def test_the_deciding_axis_is_the_side_of_the_maximum(scores, axis):
    assert deciding_axis(scores) == axis


def test_where_the_answer_is_judged_neither_declining_nor_complying_is_kept():
    neither = {"prompt": 1.0, "response": 0.05, "refusal": 0.0}

    assert combine(neither) == 1.0
    assert combine_judged(neither) < 0.5


def test_where_the_answer_is_judged_the_request_moves_its_odds_and_less_where_it_is_declined():
    answer = {"response": 0.4}
    harmful, harmless = combine_judged(answer | {"prompt": 0.9}), combine_judged(answer | {"prompt": 0.01})

    assert harmless < 0.4 < 0.5 < harmful
    declined = combine_judged(answer | {"prompt": 0.9, "refusal": 1.0})

    assert combine_judged(answer) == pytest.approx(0.4)
    assert 0.4 < declined < harmful
    assert combine_judged({"prompt": 0.7}) == 0.7


@pytest.mark.parametrize("prompt", [0.0, 1e-9, 0.001, 0.01])
def test_where_the_answer_is_judged_no_request_hides_a_harmful_answer(prompt):
    assert combine_judged({"prompt": prompt, "response": 0.65, "refusal": 0.0}) > 0.5
