import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safefed.errors import DataError
from safefed.overlap import JACCARD, grams, words
from safefed.splitting import n_repeating, split_rows

FEW_WORDS = st.lists(st.sampled_from(["red", "green", "dog", "cat", "runs", "eats", "now", "here"]), max_size=12)


def distinct(n, seed=0):
    draw = random.Random(seed)
    return [" ".join(f"w{draw.randrange(10_000)}" for _ in range(9)) for _ in range(n)]


def alternating(n):
    return [i % 2 == 0 for i in range(n)]


def slow_repeats(one, other):
    """Whether two texts repeat each other, straight from the definition."""
    mine, theirs = grams(words(one)), grams(words(other))
    same = bool(words(one)) and words(one) == words(other)
    return same or (bool(mine) and len(mine & theirs) >= JACCARD * len(mine | theirs))


@settings(max_examples=60, deadline=None)
@given(st.lists(FEW_WORDS, min_size=12, max_size=30), st.data())
def test_no_text_near_repetition_or_group_is_on_both_sides(rows, data):
    texts = [" ".join(row) for row in rows]
    together = data.draw(st.lists(st.sampled_from(["a", "b", None]), min_size=len(rows), max_size=len(rows)))
    try:
        found = split_rows(texts, alternating(len(rows)), held_out=0.4, together=together)
    except DataError:
        return

    assert sorted([*found.fit, *found.held_out]) == list(range(len(rows)))
    for i in found.fit:
        for j in found.held_out:
            assert not slow_repeats(texts[i], texts[j])
            assert texts[i] != texts[j]
            assert together[i] is None or together[i] != together[j]
    assert found.n_shared == 0


@pytest.mark.parametrize("seed", range(5))
def test_planted_repetitions_are_counted_and_each_stays_with_its_original(seed):
    texts = distinct(40)
    planted = {40: texts[3].upper() + "!", 41: f"{texts[7]} today", 42: f"please {texts[7]} today"}

    found = split_rows([*texts, *planted.values()], alternating(43), seed=seed)

    assert (found.n_exact, found.n_near) == (1, 3)
    assert found.groups[40] == found.groups[3]
    assert found.groups[41] == found.groups[42] == found.groups[7]
    assert len(set(found.groups.tolist())) == 40


def test_about_the_wanted_share_of_either_kind_is_held_out_and_the_seed_decides_which():
    unsafe = [i % 10 == 0 for i in range(200)]
    found = split_rows(distinct(200), unsafe, held_out=0.3)

    assert sum(unsafe[i] for i in found.held_out) == 6
    assert len(found.held_out) == 60
    assert split_rows(distinct(200), unsafe, held_out=0.3).held_out == found.held_out
    assert split_rows(distinct(200), unsafe, held_out=0.3, seed=1).held_out != found.held_out
    assert found.facts() == {
        "fit": 140, "held_out": 60, "groups": 200, "largest_group": 1, "exact": 0, "near": 0, "shared": 0,
    }  # fmt: skip


def test_a_group_much_larger_than_the_held_out_part_is_fitted_on():
    together = ["big"] * 60 + [None] * 40

    found = split_rows(distinct(100), alternating(100), together=together)

    assert set(range(60)) <= set(found.fit)
    assert len(found.held_out) == 20


def test_few_large_groups_still_give_two_sides():
    found = split_rows(distinct(99), alternating(99), together=[i // 33 for i in range(99)])

    assert (len(found.fit), len(found.held_out)) == (66, 33)


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_uneven_mixture_are_drawn_so_that_both_kinds_have_their_share(seed):
    unsafe = [i % 3 == 0 for i in range(300)]

    found = split_rows(distinct(300), unsafe, together=[i // 2 for i in range(300)], seed=seed)

    assert sum(unsafe[i] for i in found.held_out) == pytest.approx(20, abs=1)
    assert len(found.held_out) == pytest.approx(60, abs=4)


def test_rows_that_all_hang_together_are_refused_with_what_to_change():
    with pytest.raises(DataError, match=r"100 rows hang together in 1 groups.*--held-out"):
        split_rows(distinct(100), alternating(100), together=["one"] * 100)


def test_texts_without_words_are_tied_only_to_equal_ones():
    texts = [*distinct(20), "!?", "!?", "...", ""]

    groups = split_rows(texts, alternating(24), held_out=0.3).groups

    assert groups[20] == groups[21]
    assert len({*groups[20:].tolist()}) == 3


def test_repetitions_of_known_texts_are_counted_once_each():
    known = distinct(5)

    assert n_repeating(known, [known[0], f"{known[1]} again", known[0].title(), *distinct(3, seed=1)]) == 3


@pytest.mark.parametrize(("start", "n_near", "n_groups"), [("about", 0, 2000), ("write an essay on", 0, 2000)])
def test_prompts_from_one_template_are_no_repetitions_where_most_of_a_prompt_is_its_own(start, n_near, n_groups):
    texts = [f"{start} {text}" for text in distinct(2000)]

    found = split_rows(texts, alternating(2000))

    assert (found.n_near, len(set(found.groups.tolist()))) == (n_near, n_groups)
    assert len(found.held_out) == 400
