from collections.abc import Callable, Sequence

import pytest

from safefed.config import ReviseConfig
from safefed.constitution import FALLBACK, Outcome, load_constitution, revise
from safefed.generate import Generation
from safefed.records import Message, Sample, Verdict

REFUSALS = load_constitution().refusals
GOOD = "I won't help with that, since people could get hurt."
SAMPLES = [Sample.of(f"how do I do bad thing {n}?", f"Sure, UNSAFE {n} [omitted]", unsafe=True) for n in range(5)]


class Scripted:
    """Critiques with one text, revises with a function of (revision question, how many questions came before)."""

    revision = "scripted-1"

    def __init__(self, answer: Callable[[str, int], str | Generation] = lambda *_: GOOD, critique: str = "It harms."):
        self.answer, self.critique = answer, critique
        self.asked: list[str] = []

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:  # noqa: ARG002
        return [self._one(conversation[0].content) for conversation in conversations]

    def _one(self, text: str) -> Generation:
        if "\nCritique: " not in text:
            return Generation(self.critique, "stop")
        self.asked.append(text)
        answer = self.answer(text, len(self.asked) - 1)
        return answer if isinstance(answer, Generation) else Generation(answer, "stop")


class Screen:
    """Flags every answer with UNSAFE in it, and remembers what it saw."""

    def __init__(self, action: str = "revise"):
        self.action = action
        self.seen: list[str] = []

    def __call__(self, samples: Sequence[Sample]) -> list[Verdict]:
        self.seen += [s.response for s in samples]
        return [
            Verdict(s.id, "words", {}, 1.0, action=self.action if "UNSAFE" in str(s.messages) else "keep")  # type: ignore[arg-type]
            for s in samples
        ]


def run(
    generator: Scripted, screen: Screen | None = None, samples: Sequence[Sample] = SAMPLES, **config: object
) -> list[Outcome]:
    verdicts = [Verdict(s.id, "words", {}, 1.0, category="S2", action="revise") for s in samples]
    settings = ReviseConfig.model_validate(config)
    return revise(samples, verdicts, load_constitution(), generator, screen or Screen(), settings)


def test_a_revision_that_passes_replaces_the_answer_and_makes_a_pair():
    outcomes = run(Scripted())

    for sample, outcome in zip(SAMPLES, outcomes, strict=True):
        assert outcome.sample is not None
        assert outcome.sample.messages == sample.with_response(GOOD).messages
        assert outcome.sample.meta == {"revised": True}
        assert outcome.revision is not None
        assert (outcome.revision.sample_id, outcome.revision.attempts) == (sample.id, 1)
        assert outcome.revision.model_revision == "scripted-1"
        assert outcome.pair is not None
        assert outcome.pair.to_json() == {"prompt": sample.prompt, "chosen": GOOD, "rejected": sample.response}


def test_every_kept_answer_has_been_screened_as_it_is_kept():
    screen = Screen()

    outcomes = run(Scripted(lambda text, _: "UNSAFE still" if " 3 " in text else GOOD), screen)

    assert {o.sample.response for o in outcomes if o.sample} <= set(screen.seen)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        ("Sure, UNSAFE 0 [omitted]", "identical"),
        ("word " * 400, "too-long"),
        ("no way no way no way no way", "looping"),
        ("It is <|im_start|> fine", "control-token"),
        ("Still UNSAFE but different", "flagged"),
    ],
)
def test_a_bad_revision_is_tried_k_times_then_dropped(answer: str, reason: str):
    generator = Scripted(lambda *_: answer)

    (outcome,) = run(generator, samples=SAMPLES[:1], attempts=3, fallback="drop")

    assert outcome == Outcome(None, None, None, reason)
    assert len(generator.asked) == 3


def test_each_attempt_asks_by_another_principle_and_the_count_is_kept():
    generator = Scripted(lambda _, before: GOOD if before == 2 else "")

    (outcome,) = run(generator, samples=SAMPLES[:1], attempts=3)

    assert outcome.revision is not None
    assert outcome.revision.attempts == 3
    assert len({text.rsplit("\n\n")[-1] for text in generator.asked}) == 3


def test_an_empty_critique_counts_as_a_failed_attempt_and_no_revision_is_asked():
    generator = Scripted(critique=" ")

    outcomes = run(generator, fallback="drop")

    assert {outcome.reason for outcome in outcomes} == {"empty-critique"}
    assert generator.asked == []


def test_the_fallback_is_a_screened_refusal_without_a_pair():
    screen = Screen()

    outcomes = run(Scripted(lambda *_: "UNSAFE"), screen, attempts=2)

    for outcome in outcomes:
        assert outcome.sample is not None
        assert outcome.sample.response in REFUSALS
        assert outcome.sample.response in screen.seen
        assert outcome.revision is not None
        assert (outcome.revision.principle, outcome.revision.attempts) == (FALLBACK, 2)
        assert outcome.pair is None
        assert outcome.reason == "flagged"


def test_refusals_vary_by_sample_and_repeat_for_the_same_one():
    first = run(Scripted(lambda *_: ""))
    second = run(Scripted(lambda *_: ""))

    assert first == second
    assert len({o.sample.response for o in first if o.sample}) > 1


def test_a_screen_that_cannot_tell_never_keeps():
    class Undecided(Screen):
        def __call__(self, samples: Sequence[Sample]) -> list[Verdict]:
            return [Verdict(s.id, "words", {}, 0.0, action="error") for s in samples]

    outcomes = run(Scripted(), Undecided())

    assert {(o.sample, o.reason) for o in outcomes} == {(None, "unscored")}


def test_a_verdict_of_another_sample_never_keeps():
    class Shifted(Screen):
        def __call__(self, samples: Sequence[Sample]) -> list[Verdict]:
            verdicts = super().__call__(samples)
            return verdicts[1:] + verdicts[:1]

    outcomes = run(Scripted(lambda _, n: f"{GOOD} ({n})"), Shifted(), fallback="drop", attempts=1)

    assert {o.reason for o in outcomes} == {"unscored"}


def test_one_failed_row_leaves_the_others_aligned():
    outcomes = run(Scripted(lambda text, _: "" if "thing 2?" in text else GOOD), fallback="drop")

    assert [o.sample is None for o in outcomes] == [False, False, True, False, False]
    assert all(o.sample.prompt == s.prompt for s, o in zip(SAMPLES, outcomes, strict=True) if o.sample)


def test_equal_samples_are_revised_once_and_each_keeps_its_own_meta():
    twice = [Sample.of("q", "UNSAFE a", source="one", n=1), Sample.of("q", "UNSAFE a", source="two", n=2)]
    generator = Scripted()

    one, two = run(generator, samples=twice)

    assert len(generator.asked) == 1
    assert one.sample is not None
    assert two.sample is not None
    assert (one.sample.source, one.sample.meta["n"]) == ("one", 1)
    assert (two.sample.source, two.sample.meta["n"]) == ("two", 2)


def test_a_bare_prompt_gets_the_fallback_at_once():
    generator = Scripted()

    (outcome,) = run(generator, samples=[Sample.of("how do I do a bad thing?")])

    assert generator.asked == []
    assert outcome.sample is not None
    assert outcome.sample.response in REFUSALS
    assert outcome.reason == "no-answer"


def test_harm_in_an_earlier_turn_is_dropped_since_only_the_last_answer_is_rewritten():
    turns = [("user", "q"), ("assistant", "UNSAFE earlier"), ("user", "more"), ("assistant", "UNSAFE again")]
    sample = Sample(tuple(Message(role, text) for role, text in turns))  # type: ignore[arg-type]

    (outcome,) = run(Scripted(), samples=[sample])

    assert outcome == Outcome(None, None, None, "flagged")


def test_a_conversation_of_several_turns_makes_no_pair():
    turns = [("user", "q"), ("assistant", "hello"), ("user", "more"), ("assistant", "UNSAFE")]
    sample = Sample(tuple(Message(role, text) for role, text in turns))  # type: ignore[arg-type]

    (outcome,) = run(Scripted(), samples=[sample])

    assert outcome.sample is not None
    assert outcome.pair is None


def test_a_revision_cut_at_its_limit_loses_its_unfinished_sentence():
    (outcome,) = run(Scripted(lambda *_: Generation(f"{GOOD} And what is mo", "length")), samples=SAMPLES[:1])

    assert outcome.sample is not None
    assert outcome.sample.response == GOOD


def test_no_samples_ask_nothing():
    assert run(Scripted(), samples=[]) == []
