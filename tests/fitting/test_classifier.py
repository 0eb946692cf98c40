import json

import numpy as np
import pytest
import torch

from safefed.errors import ConfigError
from safefed.filters import load_filter
from safefed.filters.label_map import FILE
from safefed.filters.quality import auroc
from safefed.fitting import FitTraining, fit_filter
from safefed.fitting.axis_trainer import Odds
from safefed.fitting.classifier import ClassifierFitter
from safefed.fitting.data import read_labelled, split
from safefed.fitting.settings import make_plan
from safefed.progress import Silent
from safefed.records import Message, Sample

LABELS = ["safe", "hate", "declines"]
MAP = {
    "labels": {"hate": {"axes": ["prompt", "response"], "category": "S10"}, "declines": {"axes": ["refusal"]}},
    "activation": "sigmoid",
    "threshold": 0.9,
}
QUICK = FitTraining(steps=60, learning_rate=1e-2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, make_letter_bert, write_rows, toy):
    """A model without a label map, fitted to the toy rule: (source, folder, result)."""
    folder = tmp_path_factory.mktemp("fitted")
    make_letter_bert(folder / "bert", ["a", "b"], {})
    source = write_rows(folder / "rows.csv", toy(160))
    return (
        source,
        folder / "mine",
        fit_filter(source, folder / "mine", filter=f"classifier:{folder / 'bert'}", training=QUICK),
    )


@pytest.fixture
def mapped(tmp_path, make_letter_bert):
    """A model with a label map that finds the toy rule already."""
    make_letter_bert(tmp_path / "known", LABELS, {"hate": "z", "declines": "x"})
    (tmp_path / "known" / FILE).write_text(json.dumps(MAP))
    return tmp_path / "known"


def test_a_model_without_a_label_map_learns_the_rule(fitted):
    found = fitted[2]["comparison"]

    assert found["before"]["ranking"]["auroc"] < 0.75
    assert found["after"]["ranking"]["auroc"] > 0.9
    assert found["difference"] == pytest.approx(
        found["after"]["ranking"]["auroc"] - found["before"]["ranking"]["auroc"]
    )
    assert found["conclusion"] == "better"
    assert fitted[2]["fitted"]["last_loss"] < fitted[2]["fitted"]["first_loss"]


def test_the_saved_folder_is_the_filter_that_was_measured(fitted):
    source, folder, result = fitted
    rows = read_labelled(source, None, None)
    held_out = split(rows, 0.2, 0).held_out

    judge = load_filter(f"classifier:{folder}")
    scores = np.array([verdict.unsafe for verdict in judge.score([rows.samples[i] for i in held_out])])

    measured = result["comparison"]["after"]
    assert judge.revision == measured["revision"]
    assert auroc(np.array([rows.unsafe[i] for i in held_out]), scores) == pytest.approx(measured["ranking"]["auroc"])
    assert not list(folder.glob("*.bin"))


def test_the_saved_filter_knows_the_axis_it_was_fitted_on_and_errs_on_rows_without_it(fitted):
    judge = load_filter(f"classifier:{fitted[1]}")

    answered, bare = judge.score([Sample.of("abcd efgh", "abcz"), Sample.of("abcz")])

    assert set(answered.scores) == {"response"}
    assert (bare.action, bare.reason) == ("error", "nothing-to-score")


@pytest.mark.slow
def test_equal_arguments_give_equal_weights(fitted, tmp_path):
    source, folder, _ = fitted

    fit_filter(source, tmp_path / "again", filter=f"classifier:{folder.parent / 'bert'}", training=QUICK)

    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_model_with_a_label_map_goes_on_from_what_it_knows(mapped, write_rows, toy, tmp_path):
    source = write_rows(tmp_path / "rows.csv", toy(60))
    result = fit_filter(
        source, tmp_path / "mine", filter=f"classifier:{mapped}", training=FitTraining(steps=1, learning_rate=1e-9)
    )

    before, after = (result["comparison"][side]["ranking"]["auroc"] for side in ("before", "after"))
    assert before == after == 1.0
    assert result["fitted"]["head"] == "the model's"
    assert json.loads((tmp_path / "mine" / FILE).read_text()) == {
        "activation": "sigmoid",
        "labels": {"hate": {"axes": ["response"], "category": "S10"}},
        "max_tokens": 64,
        "threshold": 0.5,
    }


@pytest.mark.slow
def test_bare_prompts_train_the_prompt_axis(make_letter_bert, write_rows, toy, tmp_path):
    make_letter_bert(tmp_path / "bert", ["a", "b"], {})
    rows = [(f"{ask} {answer}", "", bad, document) for ask, answer, bad, document in toy(60)]
    source = write_rows(tmp_path / "rows.csv", rows, response=None)

    result = fit_filter(
        source, tmp_path / "mine", filter=f"classifier:{tmp_path / 'bert'}", training=FitTraining(steps=2)
    )

    assert result["fitted"]["axes"] == ["prompt"]
    assert set(load_filter(f"classifier:{tmp_path / 'mine'}").score([Sample.of("abc", "def")])[0].scores) == {"prompt"}


def test_a_label_map_without_an_axis_that_the_rows_have_is_refused(mapped, tmp_path):
    (mapped / FILE).write_text(json.dumps(MAP | {"labels": {"hate": {"axes": ["response"]}}}))

    with pytest.raises(ConfigError, match="maps no label to an axis that the rows have a text for"):
        ClassifierFitter(str(mapped), [Sample.of("abc", unsafe=True)], make_plan("classifier", QUICK, 0), tmp_path)


def test_of_several_turns_all_answers_are_trained_on_and_rows_without_a_text_are_counted(mapped, tmp_path):
    turns = [("user", "ab"), ("assistant", "cd"), ("user", "ef"), ("assistant", "gz")]
    talk = Sample(tuple(Message(role, text) for role, text in turns), meta={"unsafe": True})
    samples = [talk, Sample.of("ab", "cd", unsafe=False), Sample.of("\0", unsafe=False)]
    fitter = ClassifierFitter(str(mapped), samples, make_plan("classifier", FitTraining(steps=1), 0), tmp_path)

    facts = fitter.fit(samples, tmp_path / "out", Silent())

    assert (facts["n_rows"], facts["left_out"]) == (2, {"no-text-on-a-trained-axis": 1})


@pytest.mark.parametrize("single", [True, False])
def test_the_trained_odds_are_those_of_the_score(single):
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5], [4.0, 0.0, -3.0, 0.1]])
    columns = [[1, 2], [3]]

    odds = Odds(columns, single)(logits)

    shares = logits.softmax(1) if single else logits.sigmoid()
    expected = torch.stack([shares[:, own].sum(1) if single else shares[:, own].amax(1) for own in columns], dim=1)
    assert torch.allclose(odds.sigmoid(), expected, atol=1e-6)
