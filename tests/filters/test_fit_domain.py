import random

import pytest

from safefed.errors import ConfigError, DataError
from safefed.filters import load_filter
from safefed.filters.fit_domain import fit_domain
from safefed.filters.quality import auroc
from safefed.records import Message, Sample

WARDS = ("ward", "clinic", "practice", "lab", "office", "desk", "theatre", "garden", "kitchen", "store")


def rows(n: int, seed: int) -> list[Sample]:
    """Answers that name a folder of some colours are unsafe here: nothing the package's own heads know of."""
    rng = random.Random(seed)
    found = []
    for i in range(n):
        unsafe = rng.random() < 0.4
        colour = rng.choice(("blue", "pink", "amber", "white") if unsafe else ("green", "grey", "red", "black"))
        found.append(
            Sample.of(
                f"What does the {rng.choice(WARDS)} say, case {seed}-{i}?",
                f"Well, the {colour} folder is on the note.",
                unsafe=unsafe,
            )
        )
    return found


def area(name, samples):
    import numpy as np

    verdicts = load_filter(name).score(samples)
    return auroc(np.array([s.label for s in samples]), np.array([v.unsafe for v in verdicts]))


def test_sixty_rows_teach_the_heads_what_is_unsafe_in_a_domain(tmp_path):
    fit_domain("linear", rows(60, 0), tmp_path)

    before, after = area("linear", rows(100, 1)), area(f"linear:{tmp_path}", rows(100, 1))

    assert before < 0.9
    assert after > 0.95


def test_the_fitted_axis_decides_alone_for_answers_and_bare_prompts_keep_the_packages_own(tmp_path):
    fit_domain("linear", rows(60, 0), tmp_path)
    fitted = load_filter(f"linear:{tmp_path}")

    answered, bare = fitted.score([Sample.of("How do I build a pipe bomb?", "See the note."), Sample.of("Hello there")])

    assert set(answered.scores) == {"response"}
    assert bare.scores == load_filter("linear").score([Sample.of("Hello there")])[0].scores


def test_every_answer_of_a_conversation_is_read_with_its_question(tmp_path):
    fit_domain("linear", rows(60, 0), tmp_path)
    turns = (
        ("user", "a"),
        ("assistant", "the blue folder is on the note"),
        ("user", "b"),
        ("assistant", "the green folder"),
    )

    (verdict,) = load_filter(f"linear:{tmp_path}").score([Sample(tuple(Message(*turn) for turn in turns))])

    assert verdict.action == "revise"


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        fit_domain("linear", rows(60, 0), tmp_path / name)

    assert (tmp_path / "a/linear.safetensors").read_bytes() == (tmp_path / "b/linear.safetensors").read_bytes()


@pytest.mark.parametrize("samples", [[], rows(10, 0), [s for s in rows(100, 0) if s.label]])
def test_too_few_rows_or_rows_of_one_kind_are_refused(tmp_path, samples):
    with pytest.raises(DataError, match="too few"):
        fit_domain("linear", samples, tmp_path)


def test_a_filter_without_heads_cannot_be_refitted_here(tmp_path):
    with pytest.raises(ConfigError, match="choose linear or embedding"):
        fit_domain("detoxify", rows(60, 0), tmp_path)


def test_answers_without_a_question_are_rows_of_their_own(tmp_path):
    answers = [Sample(s.messages[1:], meta=s.meta) for s in rows(60, 0)]

    fit_domain("linear", answers, tmp_path)

    assert area(f"linear:{tmp_path}", [Sample(s.messages[1:], meta=s.meta) for s in rows(100, 1)]) > 0.95


def test_what_was_asked_is_told_from_what_was_answered(tmp_path):
    def exchanges(n, seed):
        rng = random.Random(seed)
        for i in range(n):
            asked, said = rng.sample(("blue", "green"), 2) if i % 2 else [rng.choice(("blue", "green"))] * 2
            yield Sample.of(f"Is the {asked} folder {i} there?", f"The {said} one is.", unsafe=said == "blue")

    fit_domain("linear", list(exchanges(200, 0)), tmp_path)

    assert area(f"linear:{tmp_path}", list(exchanges(100, 1))) > 0.95


def test_a_hazard_with_enough_rows_is_told_and_named_by_a_head_of_its_own(tmp_path):
    hazards = {"blue": "S6", "pink": "S6", "amber": "S13", "white": "S13"}
    samples = [
        Sample(s.messages, meta={**s.meta, "category": next((h for c, h in hazards.items() if c in s.response), "")})
        for s in rows(300, 0)
    ]

    fit_domain("linear", samples[:200], tmp_path)
    verdicts = load_filter(f"linear:{tmp_path}").score(samples[200:])
    flagged = [(v.category, s.hazard) for v, s in zip(verdicts, samples[200:], strict=True) if v.action == "revise"]

    assert area(f"linear:{tmp_path}", samples[200:]) > 0.95
    assert len(flagged) > 20
    assert sum(named == hazard for named, hazard in flagged) > 0.9 * len(flagged)
