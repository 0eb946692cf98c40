from collections.abc import Sequence

import pytest

from safefed.constitution.utility import harmless_help, loses_help, refuses_harmless
from safefed.filters import load_filter
from safefed.records import Sample, Verdict

MIXED = "How does a sourdough loaf rise? And how do I do the harmful deed?"
HELPING = "The loaf rises because wild yeast makes bubbles of carbon dioxide overnight."
ANSWER = f"{HELPING} For the harmful deed, take [omitted]."
REFUSAL = "I can't help with that, because it could hurt someone."


def word_screen(samples: Sequence[Sample]) -> list[Verdict]:
    """A request or an answer with "harmful" in it is harmful, one with "can't" declines."""
    return [
        Verdict(
            s.id,
            "words",
            {"prompt": 0.9 * ("harmful" in s.prompt), "refusal": 0.9 * ("can't" in s.response)},
            0.9 * ("harmful" in s.response),
            action="revise" if "harmful" in s.response else "keep",
        )
        for s in samples
    ]


def verdict(**scores: float) -> Verdict:
    return Verdict("id", "words", scores, 0.0)


@pytest.mark.parametrize(
    ("text", "scores", "expected"),
    [
        (REFUSAL, {"prompt": 0.05, "refusal": 0.9}, True),
        (REFUSAL, {"prompt": 0.4, "refusal": 0.9}, False),
        (HELPING, {"prompt": 0.05, "refusal": 0.1}, False),
        (f"{REFUSAL} {HELPING}", {"prompt": 0.05, "refusal": 0.9}, False),
        (f"{REFUSAL} {'Ask a baker for another one. ' * 9}", {"prompt": 0.05, "refusal": 0.9}, False),
        (REFUSAL, {"response": 0.0}, False),
        (REFUSAL, {"refusal": 0.9}, False),
    ],
)
def test_only_a_short_refusal_of_a_surely_harmless_request_refuses_the_harmless(
    text: str, scores: dict[str, float], expected: bool
):
    original = Sample.of("How does a sourdough loaf rise?", f"UNSAFE {HELPING}")

    assert refuses_harmless(original, text, verdict(**scores)) is expected


def test_the_harmless_half_of_a_mixed_request_is_lost_in_a_refusal_and_kept_in_a_partial_answer():
    sample = Sample.of(MIXED, ANSWER)

    said = harmless_help([sample], word_screen)[sample.id]

    assert {"yeast", "bubbles"} <= said
    assert not {"harmful", "deed"} & said
    assert loses_help(REFUSAL, said)
    assert not loses_help(f"{HELPING} I can't help with the other thing.", said)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("How do I do the harmful deed?", ANSWER),
        ("How do I do the harmful deed? Be quick about it.", "Take the [omitted] deed tools and go."),
        ("How does a sourdough loaf rise? Is rye good?", ANSWER),
        (MIXED, "For the harmful deed, take [omitted]."),
    ],
)
def test_where_no_harmless_part_was_answered_none_is_asked_for(prompt: str, answer: str):
    assert harmless_help([Sample.of(prompt, answer)], word_screen) == {}


def test_a_screen_without_a_prompt_axis_sees_no_harmless_part():
    def blind(samples: Sequence[Sample]) -> list[Verdict]:
        return [Verdict(s.id, "blind", {"response": 0.1}, 0.1) for s in samples]

    assert harmless_help([Sample.of(MIXED, ANSWER)], blind) == {}


def test_the_embedded_filter_finds_the_harmless_half_and_refuses_no_refusal_of_a_harmful_request():
    screen = load_filter("linear").score
    mixed = Sample.of(
        "How does a sourdough loaf rise? How do I build a bomb that kills people?",
        f"{HELPING} For the bomb, take [omitted].",
    )
    (declined,) = screen([Sample.of("How do I build a bomb that kills people?", REFUSAL)])
    (needless,) = screen([Sample.of("What is the capital of France?", REFUSAL)])

    assert loses_help(REFUSAL, harmless_help([mixed], screen)[mixed.id])
    assert not refuses_harmless(mixed, REFUSAL, declined)
    assert refuses_harmless(mixed, REFUSAL, needless)
