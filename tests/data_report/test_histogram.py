"""The bars of a histogram are as tall as there are rows, and a towering one does not hide the others."""

from hypothesis import given
from hypothesis import strategies as st

from safefed.data_report.histogram import BOTTOM, LEFT, RIGHT, STACKED, TOP, histogram
from safefed.data_report.tally import BINS

counts = st.lists(st.integers(0, 10**6), min_size=BINS, max_size=BINS)


@given(st.lists(counts, min_size=1, max_size=3).filter(lambda found: any(map(any, found))))
def test_bars_stack_to_their_rows_inside_the_plot(found):
    bins = dict(zip(STACKED, found, strict=False))

    drawn = histogram(bins)

    scale = BOTTOM - drawn.rows[-1][0]
    n_top = drawn.rows[-1][1]
    for i, total in enumerate(map(sum, zip(*found, strict=True))):
        x = LEFT + i * (RIGHT - LEFT) / BINS
        pieces = [bar for bar in drawn.bars if abs(bar[1] - x) < 0.01]
        height = sum(bar[4] for bar in pieces)
        assert all(y >= TOP and y + high <= BOTTOM + 0.01 for _, _, y, _, high in pieces)
        assert abs(height - min(total * scale / n_top, BOTTOM - TOP)) < 1
    assert 1 <= len(drawn.rows) <= 6


def test_a_bar_that_towers_over_the_others_is_cut_and_says_its_rows():
    drawn = histogram({"kept": [5000, 20, 30] + [0] * (BINS - 3)})

    assert drawn.cut == (round(LEFT + (RIGHT - LEFT) * 0.5 / BINS, 2), 5000)
    assert drawn.rows[-1][1] < 50
    assert histogram({"kept": [50, 20, 30] + [0] * (BINS - 3)}).cut is None


def test_the_threshold_is_where_its_score_is():
    bins = {"kept": [1] * BINS}

    assert histogram(bins, 0.5).threshold == ((LEFT + RIGHT) / 2, 0.5)
    assert histogram(bins).threshold is None
