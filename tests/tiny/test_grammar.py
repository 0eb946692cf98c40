import random
from collections import Counter

import pytest

from safefed.tiny.answers import critique, refusal
from safefed.tiny.grammar import fill, gerund, normalise, side
from safefed.tiny.hazards import goals
from safefed.tiny.phrasings import framed


@pytest.mark.parametrize(
    ("goal", "expected"),
    [("bake a cake", "baking a cake"), ("rob a bank", "robbing a bank"), ("dye wool", "dyeing wool"),
     ("tie a tie", "tying a tie"), ("get help", "getting help"), ("see a film", "seeing a film")],
)  # fmt: skip
def test_goals_become_gerunds(goal, expected):
    assert gerund(goal) == expected


def test_a_template_takes_the_goal_and_its_gerund():
    assert fill("{ger}: how to {g}", "bake a cake") == "Baking a cake: how to bake a cake"


def test_spelling_does_not_change_the_side_of_a_prompt():
    assert side("How do I bake a cake?") == side("how do i bake  a cake")


def test_the_sides_get_ten_three_and_three_sixteenths():
    shares = Counter(side(f"prompt number {n}") for n in range(4000))

    assert 0.58 < shares["pretraining"] / 4000 < 0.67
    assert 0.16 < shares["clients"] / 4000 < 0.22


def test_a_frame_closes_the_sentence_before_another_one():
    assert framed("{p} Be brief.", "Write a poem") == "Write a poem. Be brief."
    assert framed("{p}", "Write a poem") == "Write a poem"


def test_every_category_has_goals_a_refusal_and_a_critique_that_names_it():
    rng = random.Random(0)
    for number in range(1, 15):
        category = f"S{number}"
        assert len(goals(category)) >= 10
        assert refusal(category, None, rng).split()[0] in {"I'm", "I", "Sorry,"}
        assert critique(category, rng).startswith(f"Category {category} (")


def test_normalise_keeps_words_and_digits():
    assert normalise("  It's 3 o'clock!  ") == "it s 3 o clock"
