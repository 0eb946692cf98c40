import numpy as np
import pytest

from safefed.errors import DataError
from safefed.fitting.measure import Scored, compare

N = 60
UNSAFE = [i % 2 == 0 for i in range(N)]
GROUPS = np.arange(N)
NOISE = np.random.default_rng(0).random(N)
GOOD = np.where(UNSAFE, 0.6, 0.2) + NOISE / 10


def scored(values, usable=None):
    return Scored("r", 0.5, np.asarray(values), np.ones(N, dtype=bool) if usable is None else np.asarray(usable))


@pytest.mark.parametrize(("before", "after", "conclusion"), [(NOISE, GOOD, "better"), (GOOD, NOISE, "worse")])
def test_the_conclusion_follows_the_paired_interval(before, after, conclusion):
    found = compare(UNSAFE, GROUPS, scored(before), scored(after), 0)

    assert found.conclusion == conclusion
    assert found.difference == pytest.approx(found.after.ranking.auroc - found.before.ranking.auroc)
    assert found.difference_ci95[0] <= found.difference <= found.difference_ci95[1]


def test_both_are_measured_on_the_rows_that_both_could_score_and_equal_ones_are_not_better():
    found = compare(UNSAFE, GROUPS // 2, scored(GOOD, np.arange(N) >= 10), scored(GOOD), 0)

    assert found.before.ranking == found.after.ranking
    assert (found.before.ranking.n, found.before.unscored, found.after.unscored) == (N - 10, 10, 0)
    assert (found.difference, found.conclusion) == (0.0, "unclear")


@pytest.mark.parametrize("before", [None, scored(NOISE, np.zeros(N, dtype=bool))])
def test_without_a_filter_before_or_one_that_scores_nothing_there_is_nothing_to_compare_with(before):
    found = compare(UNSAFE, GROUPS, before, scored(GOOD), 0)

    assert (found.before, found.difference, found.conclusion) == (None, None, "nothing to compare")
    assert found.after.ranking.n == N


def test_a_fitted_filter_that_scores_nothing_is_an_error():
    with pytest.raises(DataError, match="could score 0 of 60 held-out rows"):
        compare(UNSAFE, GROUPS, scored(NOISE), scored(GOOD, np.zeros(N, dtype=bool)), 0)
