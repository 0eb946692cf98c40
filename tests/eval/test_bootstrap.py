import numpy as np
import pytest

from safefed.eval.bootstrap import paired_bootstrap


def test_a_constant_difference_has_no_uncertainty():
    found = paired_bootstrap([[0.25] * 20] * 3)

    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_one_seed_agrees_with_the_normal_interval_of_a_share():
    outcomes = [[1.0] * 60 + [0.0] * 140]
    found = paired_bootstrap(outcomes)

    half = 1.96 * (0.3 * 0.7 / 200) ** 0.5
    assert found.low == pytest.approx(0.3 - half, abs=0.01)
    assert found.high == pytest.approx(0.3 + half, abs=0.01)


def test_seeds_that_disagree_widen_the_interval_of_the_same_cases():
    agree = np.full((4, 100), 0.5)
    disagree = agree + np.array([[-0.2], [-0.1], [0.1], [0.2]])

    assert paired_bootstrap(disagree).value == pytest.approx(paired_bootstrap(agree).value)
    assert paired_bootstrap(disagree).high - paired_bootstrap(disagree).low > 0.2


def test_pairing_removes_what_the_cases_have_in_common():
    rng = np.random.default_rng(1)
    hard = rng.random(300)
    first, second = (rng.random(300) < hard).astype(float), (rng.random(300) < hard).astype(float)
    paired, shuffled = paired_bootstrap(first - second), paired_bootstrap(first - rng.permutation(second))

    assert paired.high - paired.low < shuffled.high - shuffled.low


def test_equal_arguments_give_equal_intervals():
    grid = np.random.default_rng(2).random((2, 30))

    assert paired_bootstrap(grid, seed=3) == paired_bootstrap(grid, seed=3) != paired_bootstrap(grid, seed=4)


@pytest.mark.parametrize("grid", [[], [[]], [[1.0, float("nan")]]])
def test_nothing_to_average_is_an_error(grid):
    with pytest.raises(ValueError, match="finite"):
        paired_bootstrap(grid)
