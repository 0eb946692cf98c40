from pathlib import Path

import numpy as np
import pytest

import safefed.filters
from safefed.filters.fit_data import Phrasings
from safefed.filters.fit_heads import Example, balance, calibrate, fit_axis, fit_heads, held_out_logits
from safefed.filters.heads import load_heads, save_heads
from safefed.filters.lexicon import FEATURES
from safefed.filters.linear import LinearFilter
from safefed.filters.passages import Scorer
from safefed.filters.static import StaticVectors
from safefed.filters.wording import Wording
from safefed.records import Sample

PLACES = ("dog", "cat", "cow", "fish", "owl", "ox", "hen", "goat", "duck", "mule")


@pytest.fixture(scope="module")
def static():
    return StaticVectors(Path(safefed.filters.__file__).parent)


@pytest.fixture(scope="module")
def wording(static):
    return Wording(static)


def toy():
    harmful = [Example(f"please poison the {x}", True, "benign", x, f"S{1 + i % 2}") for i, x in enumerate(PLACES)]
    harmless = [Example(f"We fed the {e.group}.\nplease water the plants", False, "benign", e.group) for e in harmful]
    return harmful + harmless


def rows_of(found, wording):
    return wording.rows("prompt", [example.text for example in found])


def test_a_head_ranks_unseen_words_in_known_phrasings_and_repeats_exactly(wording):
    found = toy()
    head, bias = fit_axis("prompt", found, wording, rows_of(found, wording))

    bad, good = wording.logits("prompt", ["please poison the sheep", "please water the sheep"], head, bias)

    assert bad > good
    assert np.array_equal(head, fit_axis("prompt", found, wording, rows_of(found, wording))[0])


def test_the_worst_passage_of_a_harmless_text_becomes_an_example(wording):
    text = "\n".join(["please water the plants in the garden every day"] * 12 + ["please poison the weeds"])
    head = np.zeros(wording.rows("prompt", [text]).shape[1])
    only, others = (wording.rows("prompt", [part]).indices for part in ("poison weeds", "please water the plants"))
    head[[column for column in only if column < FEATURES and column not in others]] = 1.0

    rows, owners = wording.hard_rows("prompt", ["short text", text], head, 0.0, least=-1.0)

    assert owners.tolist() == [1]
    assert (rows @ head)[0] > (wording.rows("prompt", [text]) @ head)[0]


def test_a_stored_head_scores_as_the_fitted_one_and_can_be_taken_back(wording, static):
    head = np.random.default_rng(0).normal(size=wording.rows("prompt", ["x"]).shape[1])

    scorer = Scorer(static, {"prompt": wording.folded(head)}, {"prompt": 0.5})

    text = "please water the plants"
    assert scorer.whole("prompt", [text])[0] == pytest.approx(
        (wording.rows("prompt", [text]) @ head)[0] + 0.5, abs=1e-4
    )
    assert np.allclose(wording.unfolded(wording.folded(head)), head)


def test_held_out_scores_are_calibrated_so_that_benign_rows_rarely_reach_one_half(wording):
    found = toy()
    logits = held_out_logits("prompt", found, wording, rows_of(found, wording))

    slope, offset = calibrate(logits, found, "prompt")

    harmless = np.array([not example.label for example in found])
    assert slope > 0
    assert np.mean(slope * logits[harmless] + offset > 1e-9) <= 0.2


def test_a_source_counts_with_the_square_root_of_its_size():
    weights = balance([Example("a", True, "x", "a")] * 4 + [Example("b", True, "y", "b")])

    assert weights[:4].sum() == pytest.approx(2 * weights[4])


def test_heads_survive_the_disk_and_become_a_filter(tmp_path, wording, static):
    heads = fit_heads({"prompt": toy()}, wording, static, note="toy")

    save_heads(tmp_path, "linear", heads)
    loaded, _ = load_heads(tmp_path, "linear")
    bad, good = LinearFilter(str(tmp_path)).score([Sample.of("please poison the sheep"), Sample.of("please water it")])

    assert loaded.about == {"note": "toy"}
    assert loaded.categories == ["S1", "S2"]
    assert bad.unsafe > good.unsafe
    assert set(bad.scores) == {"prompt"}


def test_phrasings_are_the_same_every_time_and_never_harmful_without_a_named_goal():
    first, second = Phrasings(), Phrasings()

    assert list(first.prompts()) == list(second.prompts())
    assert list(first.answers()) == list(second.answers())
    assert list(first.refusals()) == list(second.refusals())
    assert all(example.group in example.text for example in Phrasings().answers() if example.label)
    assert not any("{g}" in example.text for example in (*Phrasings().prompts(), *Phrasings().refusals()))
