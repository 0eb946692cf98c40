from html.parser import HTMLParser

import numpy as np

from safefed.eval.calibration_page import CalibrationPage, comparison, write_calibration_page

FIGURES = {"fpr": 0.4, "fpr_ci95": [0.3, 0.5], "recall": 0.75, "recall_ci95": [0.6, 0.85], "ece": 0.25, "brier": 0.3,
           "n_safe": 60, "n_unsafe": 40}  # fmt: skip


def page(**changes):
    unsafe = np.arange(100) < 40
    scores = np.linspace(0.9, 0.1, 100)
    facts = {
        "filter": "linear", "facts": {"Method": "platt"}, "warnings": ["too few rows"], "unsafe": unsafe, "raw": scores,
        "calibrated": scores / 2, "threshold": 0.4, "before": FIGURES, "after": FIGURES | {"ece": 0.05},
        "bins_before": [(0.2, 60, 10), (0.8, 40, 30)], "bins_after": [(0.3, 100, 40)],
        "categories": {"S9": (10, 9), None: (2, 0)},
    }  # fmt: skip
    return CalibrationPage(**{**facts, **changes})


def render(tmp_path, **changes):
    write_calibration_page(page(**changes), tmp_path / "p.html")
    return (tmp_path / "p.html").read_text()


class Outside(HTMLParser):
    """Collects whatever a browser would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        fetched = [v for k, v in attributes if k in ("src", "href", "xlink:href") and not (v or "").startswith("#")]
        self.found += fetched + [tag] * (tag in ("script", "link", "iframe"))


def test_the_page_shows_figures_charts_categories_and_needs_nothing_from_outside(tmp_path):
    html = render(tmp_path, filter="<b>x</b>")
    outside = Outside()
    outside.feed(html)

    assert outside.found == []
    assert "40.0 % (30.0 to 50.0)" in html
    assert html.count("<svg") == 4
    assert "S9 indiscriminate weapons" in html
    assert "60\u201398" in html
    assert "not named" in html
    assert "too few rows" in html
    assert "<b>x</b>" not in html
    assert "prefers-color-scheme: dark" in html


def test_no_flagged_row_is_said_and_not_a_number(tmp_path):
    nothing = FIGURES | {"fpr": 0.0, "recall": 0.0}

    assert "No held-out row was flagged" in render(tmp_path, categories={}, after=nothing)


def test_the_comparison_is_in_percent_with_intervals_and_errors_beside_them():
    rows = comparison(FIGURES, FIGURES | {"ece": 0.05})

    assert rows[1] == ("recall", "75.0 % (60.0 to 85.0)", "75.0 % (60.0 to 85.0)")
    assert rows[2] == ("calibration error", "0.250", "0.050")
