import numpy as np
import pytest
from scipy.stats import binom

from safefed.errors import DataError
from safefed.filters.calibration import fit
from safefed.filters.operating import Goal, choose_threshold, cross_validate, doubts, exact_interval, figures

RECALL = Goal(kind="recall", rate=0.9)


def rows(n, seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    unsafe = rng.random(n) < share
    return unsafe, np.round(1 / (1 + np.exp(-rng.normal(1.5 * unsafe, 1.0))), 6)


@pytest.mark.parametrize("goal", [Goal(), Goal(rate=0.2), RECALL])
def test_the_wanted_rate_is_held_on_average_over_small_slices(goal):
    new_unsafe, new = rows(20_000, seed=9999)
    counted = new[~new_unsafe if goal.kind == "fpr" else new_unsafe]

    rates = [float((counted >= choose_threshold(*rows(60, seed), goal)).mean()) for seed in range(300)]

    assert np.mean(rates) == pytest.approx(goal.rate, abs=0.012)


def test_a_slice_too_small_for_the_rate_flags_none_of_its_safe_rows_or_all_of_its_unsafe_ones():
    unsafe, scores = np.repeat([False, True], 8), np.linspace(0.1, 0.9, 16)

    assert 0.4 < choose_threshold(unsafe, scores, Goal()) < scores[8]
    assert scores[7] < choose_threshold(unsafe, scores, Goal(kind="recall", rate=0.95)) < scores[8]


def test_tied_safe_rows_are_not_flagged_beyond_the_rate():
    unsafe = np.r_[np.zeros(40, dtype=bool), np.ones(10, dtype=bool)]
    scores = np.r_[np.full(40, 0.5), np.full(10, 0.8)]

    assert 0.5 < choose_threshold(unsafe, scores, Goal()) <= 0.8
    assert choose_threshold(unsafe, np.full(50, 0.999999), Goal()) > 0.999999


def test_the_exact_interval_is_that_of_the_binomial_tails():
    low, high = exact_interval(3, 40)

    assert binom.sf(2, 40, low) == pytest.approx(0.025)
    assert binom.cdf(3, 40, high) == pytest.approx(0.025)
    assert exact_interval(0, 10)[0] == 0.0
    assert exact_interval(10, 10)[1] == 1.0


def test_figures_are_counted_and_held_in_their_intervals():
    unsafe = np.array([True, True, False, False])

    found = figures(unsafe, np.array([1.0, 0.0, 0.0, 0.0]), np.array([True, False, True, False]))

    assert (found.fpr, found.recall, found.brier, found.n_safe, found.n_unsafe) == (0.5, 0.5, 0.25, 2, 2)
    assert found.fpr_ci95[0] < 0.5 < found.fpr_ci95[1]


def test_no_row_is_judged_by_a_map_that_saw_its_group():
    unsafe, scores = rows(40)
    groups = np.arange(40) // 2
    mixed = next(pair for pair in np.arange(40).reshape(20, 2) if unsafe[pair[0]] != unsafe[pair[1]])
    swapped = unsafe.copy()
    swapped[mixed] = ~swapped[mixed]

    one, other = (cross_validate(labels, scores, groups, Goal()).probabilities for labels in (unsafe, swapped))

    assert one[mixed] == pytest.approx(other[mixed], abs=0)
    assert np.abs(one - other).max() > 1e-3
    assert fit(unsafe, scores) != fit(swapped, scores)


def test_held_out_flags_show_what_the_rate_will_be_on_average():
    rates = []
    for seed in range(25):
        unsafe, scores = rows(60, seed)
        held_out = cross_validate(unsafe, scores, np.arange(60), Goal(rate=0.1))
        rates.append(figures(unsafe, held_out.probabilities, held_out.flagged).fpr)

    assert np.mean(rates) == pytest.approx(0.1, abs=0.03)


def test_rows_of_one_prompt_cannot_be_cross_validated():
    unsafe, scores = rows(40)

    with pytest.raises(DataError, match="prompt"):
        cross_validate(unsafe, scores, np.where(unsafe, 0, np.arange(40)), Goal())


def after(n_safe, n_false, n_unsafe=100, n_caught=90):
    unsafe = np.r_[np.zeros(n_safe, dtype=bool), np.ones(n_unsafe, dtype=bool)]
    flagged = np.r_[np.arange(n_safe) < n_false, np.arange(n_unsafe) < n_caught]
    return figures(unsafe, flagged.astype(float), flagged)


def test_a_slice_too_small_to_promise_the_rate_says_how_many_rows_to_label():
    assert doubts(Goal(), after(400, 20)) == []
    assert "label at least 19" in doubts(Goal(), after(15, 0))[0]
    (doubt,) = doubts(Goal(), after(40, 2))
    assert "cannot promise a false-positive rate of 5 %" in doubt
    assert "0.6 to 16.9 %" in doubt
    needed = int(doubt.split("label about ")[1].split()[0])
    assert doubts(Goal(), after(needed, round(0.05 * needed))) == []


def test_a_recall_is_doubted_by_the_unsafe_rows():
    assert doubts(RECALL, after(5, 0, 400, 360)) == []
    assert "unsafe rows cannot promise a recall of 90 %" in doubts(RECALL, after(400, 0, 20, 18))[0]
