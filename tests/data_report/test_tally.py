"""One pass, bounded memory."""

import random

import pytest

from safefed.data_report.tally import BINS, COMBINED, TOP, Top, tally
from safefed.records import Verdict


def verdict(number: int, unsafe: float, action: str = "keep", **options) -> Verdict:
    return Verdict(f"{number:064x}", "toy", {"response": unsafe}, unsafe, action=action, **options)


@pytest.mark.parametrize("seed", range(3))
def test_top_keeps_the_greatest_whatever_the_order_and_each_key_once(seed):
    offers = [(n % 17 / 17, f"{n:03}") for n in range(200)] * 2
    random.Random(seed).shuffle(offers)
    top: Top[str] = Top(5)

    for rank, key in offers:
        top.add(rank, key, key)

    assert top.values == [key for _, key in sorted(set(offers), reverse=True)[:5]]


def test_every_scored_row_is_in_one_bin_of_each_histogram():
    counted = tally(verdict(n, n / 100, "drop" if n >= 50 else "keep") for n in range(101))

    bins = counted.histograms[COMBINED]
    assert {result: sum(counts) for result, counts in bins.items()} == {"kept": 50, "dropped": 51}
    assert sum(bins["kept"][BINS // 2 :]) == sum(bins["dropped"][: BINS // 2]) == 0
    assert set(counted.histograms) == {COMBINED, "response"}


def test_an_error_is_counted_and_has_no_score():
    counted = tally([Verdict("0" * 64, "toy", {}, 1.0, action="error", reason="nothing-to-score")])

    assert counted.results == {"errored": 1}
    assert counted.histograms == {}
    assert counted.n_flagged == 0


def test_examples_are_the_ends_of_the_flagged_and_the_top_of_the_kept():
    counted = tally(verdict(n, n / 100, "drop" if n >= 50 else "keep") for n in range(101))

    assert [v.unsafe for v in counted.surest.values] == [n / 100 for n in range(100, 100 - TOP, -1)]
    assert [v.unsafe for v in counted.least.values] == [n / 100 for n in range(50, 50 + TOP)]
    assert [v.unsafe for v in counted.nearest.values] == [n / 100 for n in range(49, 49 - TOP, -1)]


def test_what_a_policy_kept_is_flagged_and_kept():
    counted = tally([verdict(1, 0.9, "keep", category="S6", reason="policy-keep: harmful-response")])

    assert counted.categories == {"S6": {"kept": 1}}
    assert counted.axes == {"response": {"kept": 1}}
