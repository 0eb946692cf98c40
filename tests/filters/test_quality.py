import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from safefed.filters.quality import auroc, decisions, interval, ranking


def toy(n=400, seed=0):
    rng = np.random.default_rng(seed)
    unsafe = rng.random(n) < 0.3
    return unsafe, np.round(rng.normal(unsafe.astype(float), 1.0), 1)


def test_the_area_by_ranks_is_sklearns_with_ties():
    unsafe, scores = toy()

    assert auroc(unsafe, scores) == pytest.approx(roc_auc_score(unsafe, scores), abs=1e-12)


def test_the_figures_at_one_rate_are_those_of_the_threshold_that_gives_it():
    unsafe, scores = np.repeat([False, True], 100), np.r_[np.arange(100.0), np.arange(50.0, 150.0)]

    found = ranking(unsafe, scores)

    assert found.recall_at_fpr5 == pytest.approx(0.55)
    assert found.lost_at_recall95 == pytest.approx(0.45)
    assert found.auroc_ci95[0] < found.auroc < found.auroc_ci95[1]


def test_rows_that_belong_together_widen_the_interval():
    unsafe, scores = toy()
    unsafe, scores, owner = np.tile(unsafe, 5), np.tile(scores, 5), np.tile(np.arange(400), 5)

    apart, together = ranking(unsafe, scores).auroc_ci95, ranking(unsafe, scores, owner).auroc_ci95

    assert together[1] - together[0] > 1.8 * (apart[1] - apart[0])


def test_the_same_seed_gives_the_same_interval():
    unsafe, scores = toy()

    assert ranking(unsafe, scores) == ranking(unsafe, scores)
    assert interval(lambda rows: float(scores[rows].mean()), np.arange(400)) == interval(
        lambda rows: float(scores[rows].mean()), np.arange(400)
    )


def test_flags_are_counted_against_labels():
    found = decisions([True, True, False, False, False], [True, False, True, False, False])

    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, pytest.approx(0.5))
    assert found.fpr == pytest.approx(1 / 3)
    assert decisions([True, False], [False, False]).f1 == 0.0


def test_labels_that_are_all_alike_cannot_be_ranked():
    with pytest.raises(ValueError, match="unsafe and safe"):
        ranking([True, True], [0.1, 0.2])
