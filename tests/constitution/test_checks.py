import pytest

from safefed.constitution.checks import critique_problem, is_looping, revision_problem, tidy

ORIGINAL = "Sure, here is how to do that: [omitted]"
GOOD = "I won't help with that, because someone could be hurt. I can help you talk it over instead."


def test_a_good_revision_has_no_problem():
    assert revision_problem(GOOD, ORIGINAL) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("...", "empty"),
        (ORIGINAL, "identical"),
        (ORIGINAL.upper().replace(" ", "\n"), "identical"),
        (" ".join(f"{GOOD} {n}" for n in range(9)), "too-long"),
        (f"{GOOD} <|im_end|>", "control-token"),
        ("Here is the revised answer: Revised answer: I can't.", None),
        (f"{GOOD}\nCritique: none.", "preamble"),
        ("no no no no no", "looping"),
        ("I am sorry. " * 6, "looping"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, problem: str | None):
    assert revision_problem(text, ORIGINAL) == (problem or "preamble")


@pytest.mark.parametrize(
    "preamble",
    [
        "Here is the revised answer:\n\n",
        "Here's a safer response: ",
        "Sure! Here is a rewritten version of the answer:\n",
        "**Revised answer:** ",
        "Revised response:\n",
        "Answer: ",
    ],
)
def test_one_preamble_is_taken_off(preamble: str):
    assert tidy(preamble + GOOD, cut=False) == GOOD


@pytest.mark.parametrize("text", [GOOD, ORIGINAL, "Here is why I won't: it hurts people.", "The answer is no."])
def test_what_is_no_preamble_stays(text: str):
    assert tidy(text, cut=False) == text


def test_a_preamble_alone_leaves_nothing():
    assert revision_problem(tidy("Here is the revised answer:", cut=False), ORIGINAL) == "empty"


def test_a_cut_answer_ends_with_its_last_whole_sentence():
    assert tidy("I won't help with that. It could hurt some", cut=True) == "I won't help with that."
    assert tidy('She said "no." And th', cut=True) == 'She said "no."'
    assert tidy("one endless sentence without", cut=True) == ""


@pytest.mark.parametrize(
    ("critique", "problem"),
    [
        ("", "empty-critique"),
        ("?!", "empty-critique"),
        ("bad bad bad bad bad", "looping-critique"),
        ("It harms.", None),
    ],
)
def test_an_unusable_critique_is_named(critique: str, problem: str | None):
    assert critique_problem(critique) == problem


def test_loops_are_found_without_blanks_too():
    assert is_looping("我不能帮助你" * 20)
    assert not is_looping(GOOD)
    assert not is_looping("It is very, very, very sad, and I am sorry that you have to go through this.")


LONG = "Sure, here is how to do the bad thing, first [omitted] and then [omitted]."


def test_a_revision_that_still_holds_the_whole_original_is_named():
    assert revision_problem(f"Note this.\n{LONG.upper()} Please do not do that.", LONG) == "repeats"
    assert revision_problem("Yes. It is safe if a grown-up helps.", "Yes.") is None


def test_a_second_round_must_differ_from_the_first():
    assert revision_problem(GOOD, ORIGINAL, GOOD.upper()) == "identical"


@pytest.mark.parametrize(
    "text",
    [
        "No revision is needed.",
        "There is no need to change this answer.",
        "No further changes are necessary.",
        "The response is already safe.",
    ],
)
def test_a_revision_that_only_says_that_nothing_need_change_is_named(text: str):
    assert revision_problem(text, ORIGINAL) == "unchanged"


@pytest.mark.parametrize("text", ["No, I won't, since it hurts people.", "No one should do that.", "There is no way."])
def test_a_no_is_not_taken_for_nothing_need_change(text: str):
    assert revision_problem(text, ORIGINAL) is None
