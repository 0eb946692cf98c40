import numpy as np
import pytest
from scipy.stats import ks_2samp

from safefed.filters.drift import N_BINS, RAW, compare, count_name, counted, histogram, score_bin


def scores(n, seed, shift=0.0):
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(-1.5 + shift, 2.0, n)))


def test_every_score_has_a_bin_and_higher_scores_have_higher_ones():
    bins = [score_bin(score) for score in np.linspace(0, 1, 501)]

    assert bins == sorted(bins)
    assert (bins[0], bins[-1]) == (0, N_BINS - 1)
    assert sum(histogram(scores(300, 0))) == 300


@pytest.mark.parametrize(("n_profile", "n"), [(50, 600), (200, 200), (200, 600)])
def test_rows_like_the_profiles_raise_no_alarm_in_95_of_100_draws(n_profile, n):
    alarms = [
        compare(histogram(scores(n_profile, seed)), histogram(scores(n, 10_000 + seed))).drifted for seed in range(200)
    ]

    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize(("n_profile", "n", "shift"), [(50, 1000, 2.0), (200, 1000, 1.0), (200, 1000, -1.0)])
def test_scores_that_have_shifted_raise_the_alarm(n_profile, n, shift):
    alarms = [
        compare(histogram(scores(n_profile, seed)), histogram(scores(n, 10_000 + seed, shift))).drifted
        for seed in range(40)
    ]

    assert np.mean(alarms) >= 0.9


def test_a_shift_too_small_to_matter_is_no_drift_however_many_rows_show_it():
    found = compare(histogram(scores(20_000, 1)), histogram(scores(20_000, 2, 0.3)))

    assert ks_2samp(scores(20_000, 1), scores(20_000, 2, 0.3)).pvalue < 1e-6
    assert found.statistic < found.limit == 0.1


def test_the_binned_statistic_is_close_to_and_never_above_that_of_the_scores():
    first, second = scores(500, 1), scores(800, 2, 0.8)

    found = compare(histogram(first), histogram(second)).statistic
    exact = ks_2samp(first, second).statistic

    assert exact - 0.03 <= found <= exact + 1e-6


def test_what_screening_counts_is_the_histogram():
    values = scores(100, 3)
    counts: dict[str, int] = {"n_in": 100}
    for value in values:
        name = count_name({"prompt": 0.3, RAW: value})
        counts[name] = counts.get(name, 0) + 1

    assert counted(counts) == histogram(values)
    assert count_name({"prompt": 0.3}) is None


def test_nothing_scored_is_no_answer():
    assert compare(histogram(scores(50, 0)), histogram([])) is None
