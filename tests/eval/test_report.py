import re
from html.parser import HTMLParser

import pytest

from safefed.errors import DataError
from safefed.eval.metrics import count
from safefed.eval.report import write_report

CANARY = "<script>alert('x')</script>"


def entry(metric="safe rate", independent=True, seeds=1, **labels):
    pooled = count(metric, [labels or {"refused": 8, "complied": 2}] * seeds, "toy").to_json()
    return {**pooled, "independent": independent, "verified": True}


def summary(**changes):
    arms = {
        arm: {
            "benchmarks": {
                "advbench": {"filter:linear": entry(independent="filter" not in arm), "refusal": entry()},
                "xstest": {"refusal": entry("over-refusal", refused=1, harmless=9)},
            }
        }
        for arm in ("fedavg+filter", "fedavg", "base")
    }
    arms["fedavg+filter"] |= {
        "screening": {"n_in": 10, "kept": 7, "revised": 1, "dropped": 2, "errored": 0,
                      "clients": {"clinic": {"n_in": 10, "kept": 7, "revised": 1, "dropped": 2, "errored": 0}}},
        "train": {"rounds": 3, "clients": 4, "bytes_up": 1_500_000, "bytes_down": 900, "seconds": 61.0,
                  "final_loss": 1.5},
    }  # fmt: skip
    stages = [{"stage": "train", "arm": "fedavg", "seconds": 3.2, "cached": True}]
    return {"schema": 1, "name": "demo", "base_model": "tiny", "seeds": [0], "arms": arms, "stages": stages, **changes}


def render(tmp_path, value):
    write_report(value, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text("utf-8")


class Balance(HTMLParser):
    """Collects tags that are closed out of order."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, _attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, *_):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_report_is_well_formed_and_needs_nothing_from_outside(tmp_path):
    html = render(tmp_path, summary())
    balance = Balance()
    balance.feed(html)

    assert balance.wrong == balance.open == []
    assert not re.search(r"<script|https?://|@import|url\(|<link|<img|src=", html)


def test_it_shows_values_intervals_screening_training_and_stages(tmp_path):
    html = render(tmp_path, summary())

    for text in ("80.0", "49.0\u201394.3", "clinic", "1.5 MB", "900 B", "1 min 01 s", "reused", "Over-refusal"):
        assert text in html, text


def test_arms_come_in_the_order_of_the_default_experiment(tmp_path):
    html = render(tmp_path, summary())

    rows = re.findall(r'<th scope="row">([^<]+)</th>', html)
    assert rows[:3] == ["base", "fedavg", "fedavg+filter"]


def test_a_judge_that_is_not_independent_is_marked_only_where_it_is_not(tmp_path):
    html = render(tmp_path, summary())

    assert html.count("80.0 †") == 1


def test_text_from_the_summary_is_escaped(tmp_path):
    value = summary(name=CANARY, base_model=CANARY, versions={CANARY: CANARY})
    value["arms"][CANARY] = {"benchmarks": {CANARY: {CANARY: entry()}}}

    assert CANARY not in render(tmp_path, value)


def test_a_high_degenerate_share_and_unscored_answers_stand_out(tmp_path):
    value = summary()
    value["arms"]["fedavg"]["benchmarks"]["advbench"]["refusal"] = entry(refused=5, degenerate=5, unscored=3)

    html = render(tmp_path, value)

    assert '<span class="note warn">50.0 % degenerate</span>' in html
    assert "3 unscored" in html


def test_seeds_are_listed_when_there_are_several(tmp_path):
    value = summary(seeds=[0, 1])
    value["arms"]["fedavg"]["benchmarks"]["advbench"]["refusal"] = entry(seeds=2)

    assert "seeds 80.0&nbsp;· 80.0" in render(tmp_path, value)


def test_what_was_not_measured_is_said_and_not_a_number(tmp_path):
    value = summary()
    del value["arms"]["fedavg"]["benchmarks"]["xstest"]

    assert "not measured" in render(tmp_path, value)


def test_a_summary_without_benchmarks_still_renders(tmp_path):
    assert "Nothing was measured" in render(tmp_path, summary(arms={"fedavg": {}}))


@pytest.mark.parametrize("change", [{"arms": {}}, {"schema": 2}])
def test_a_summary_that_says_nothing_is_an_error_and_writes_nothing(tmp_path, change):
    with pytest.raises(DataError):
        write_report(summary(**change), tmp_path / "report.html")

    assert list(tmp_path.iterdir()) == []


def test_losses_per_token_and_per_pair_stand_side_by_side(tmp_path):
    value = summary()
    value["arms"]["fedavg+filter"]["train"]["final_dpo_loss"] = 0.6

    assert "1.500, 0.600 per pair" in render(tmp_path, value)


def test_it_says_what_alignment_found_and_what_it_cost(tmp_path):
    value = summary()
    value["arms"]["fedavg"]["align"] = {
        "alignments": 3, "red_team": 128, "already_refused": 90, "harmless": 256, "needlessly_refused": 17,
        "pairs_revised": 30, "pairs_refusal": 8, "pairs_help": 25, "steps": 120, "tokens": 65432,
        "data_seconds": 61.0, "training_seconds": 12.5,
    }  # fmt: skip

    html = render(tmp_path, value)

    for text in ("Alignment on the server", ">63<", "65,432", "1 min 01 s", "12.5 s", ">-<"):
        assert text in html, text
    assert "Alignment on the server" not in render(tmp_path, summary())
