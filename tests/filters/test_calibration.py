import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from safefed.filters.calibration import Isotonic, Platt, calibration_error, fit, logit, method_for, reliability
from safefed.filters.quality import auroc

rows = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=60).filter(
    lambda found: len({label for label, _ in found}) == 2
)


def miscalibrated(n, seed):
    """Rows whose true probability is far below the score: a threshold of another source."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1.5, 2.0, n)
    unsafe = rng.random(n) < 1 / (1 + np.exp(-(0.7 * x - 2.0)))
    return unsafe, 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@settings(max_examples=20, deadline=None)
@given(found=rows)
def test_a_calibrated_score_is_a_probability_and_never_changes_the_order(found, method):
    unsafe, scores = np.array([u for u, _ in found]), np.array([s for _, s in found])

    calibrate = fit(unsafe, scores, method)
    line = calibrate(np.linspace(0, 1, 101))

    assert np.all((line >= 0) & (line <= 1))
    assert np.all(np.diff(line) >= 0)
    assert np.isfinite(calibrate(scores)).all()


@pytest.mark.parametrize("seed", range(5))
def test_fifty_rows_make_miscalibrated_scores_better_on_rows_not_seen(seed):
    unsafe, scores = miscalibrated(50, seed)
    new_unsafe, new_scores = miscalibrated(4000, 100 + seed)

    calibrated = fit(unsafe, scores)(new_scores)

    assert calibration_error(new_unsafe, calibrated) < 0.6 * calibration_error(new_unsafe, new_scores)
    assert auroc(new_unsafe, calibrated) == pytest.approx(auroc(new_unsafe, new_scores), abs=1e-3)


def test_many_rows_find_the_line_that_made_them():
    unsafe, scores = miscalibrated(40_000, 0)

    found = fit(unsafe, scores, "platt")

    assert (found.slope, found.offset) == (pytest.approx(0.7, abs=0.03), pytest.approx(-2.0, abs=0.06))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_slice_that_the_score_separates_keeps_finite_numbers_and_claims_no_certainty(method):
    unsafe = np.repeat([False, True], 25)
    scores = np.r_[np.full(25, 0.0), np.full(25, 1.0)]

    found = fit(unsafe, scores, method)([0.0, 1.0])

    assert found == pytest.approx([1 / 27, 26 / 27], abs=1e-3)


def test_scores_that_rank_the_wrong_way_round_or_not_at_all_give_a_flat_map():
    unsafe = np.repeat([True, False], 25)

    assert fit(unsafe, np.linspace(0, 1, 50), "platt").flat
    assert fit(unsafe, np.linspace(0, 1, 50), "isotonic").flat
    assert fit(unsafe, np.full(50, 0.3), "isotonic").flat
    assert not fit(~unsafe, np.linspace(0, 1, 50)).flat


def test_isotonic_needs_a_thousand_rows_with_a_hundred_of_each_kind():
    half, few = np.tile([True, False], 500), np.arange(1000) < 99

    assert [method_for(half), method_for(half[:999]), method_for(few)] == ["isotonic", "platt", "platt"]
    assert method_for(few, "isotonic") == "isotonic"


def test_labels_that_are_all_alike_cannot_be_fitted():
    with pytest.raises(ValueError, match="unsafe and safe"):
        fit(np.ones(30, dtype=bool), np.linspace(0, 1, 30))


def test_the_calibration_error_is_that_of_ten_bins_counted_by_hand():
    unsafe = np.array([True, False, True, True])
    probabilities = np.array([0.11, 0.19, 0.95, 1.0])

    low, high = reliability(unsafe, probabilities)

    assert (low.n, low.n_unsafe, low.mean) == (2, 1, pytest.approx(0.15))
    assert (high.low, high.high, high.n, high.n_unsafe) == (0.9, 1.0, 2, 2)
    assert calibration_error(unsafe, probabilities) == pytest.approx((2 * 0.35 + 2 * 0.025) / 4)


@pytest.mark.parametrize(
    ("logits", "values"), [([0.0, 0.0], [0.1, 0.2]), ([0.0], [0.1, 0.2]), ([0.0, 1.0], [0.3, 0.2])]
)
def test_a_curve_that_does_not_rise_is_refused(logits, values):
    with pytest.raises(ValidationError, match=r"must (rise|be of one length)"):
        Isotonic(logits=logits, values=values)


def test_a_falling_line_is_refused():
    with pytest.raises(ValidationError, match="slope"):
        Platt(slope=-0.1, offset=0.0)


def test_logits_of_certainties_are_finite():
    assert logit([0.0, 0.5, 1.0]) == pytest.approx([-13.8155, 0.0, 13.8155], abs=1e-3)
