import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import safefed.filters
from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.filters import load_filter
from safefed.filters.fit_domain import fit_domain
from safefed.filters.lexicon import Lexicon
from safefed.filters.meaning import LONG, SCALES, Meaning, most_telling, passages
from safefed.filters.passages import Scorer
from safefed.filters.sentence_encoder import SentenceEncoder
from safefed.filters.static import StaticVectors
from safefed.filters.wording import Wording
from safefed.records import Sample


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory, make_letter_bert):
    """A small BERT of random weights in the layout of sentence-transformers."""
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("encoder")
    make_letter_bert(folder, ["a", "b"], None)
    AutoModelForSequenceClassification.from_pretrained(folder).bert.save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder


@pytest.fixture(scope="module")
def encoder(encoder_folder):
    return SentenceEncoder(str(encoder_folder), dtype="float32")


@pytest.fixture(scope="module")
def static():
    return StaticVectors(Path(safefed.filters.__file__).parent)


def rows(n):
    answers = [("zz " if i % 3 == 0 else "aa ") + "b" * (i % 5 + 1) for i in range(n)]
    return [Sample.of(f"q{i}", answer, unsafe=i % 3 == 0) for i, answer in enumerate(answers)]


def test_vectors_are_the_mean_of_the_token_vectors_at_length_one(encoder_folder, encoder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["a", "zz b c d", "a b c"]
    model, tokenizer = AutoModel.from_pretrained(encoder_folder).eval(), AutoTokenizer.from_pretrained(encoder_folder)
    with torch.inference_mode():
        means = [model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0).numpy() for t in texts]

    found = encoder.vectors(texts)

    assert np.allclose(found, [mean / np.linalg.norm(mean) for mean in means], atol=1e-5)


def test_an_encoder_that_pools_in_an_unknown_way_is_refused(encoder_folder, tmp_path):
    shutil.copytree(encoder_folder, tmp_path / "other")
    (tmp_path / "other/1_Pooling/config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))

    with pytest.raises(ConfigError, match="pools by max_tokens"):
        SentenceEncoder(str(tmp_path / "other"))
    with pytest.raises(DataError, match="cannot be loaded"):
        SentenceEncoder(str(tmp_path / "absent"))


def test_a_long_text_is_read_to_its_end_in_large_and_small_windows():
    text = "Nothing happens here at all. " * 400 + "The end."

    found = [passage[0] for passage in passages("prompt", text)]

    assert passages("prompt", "short") == [("short",)]
    assert passages("refusal", "No. Never! Go") == [("No. Never! Go", "No.", "Never!")]
    assert max(map(len, found)) <= LONG
    assert sum(part.endswith("The end.") for part in found) >= 2


def test_scores_are_those_of_the_rows_that_heads_are_fitted_on(encoder, static):
    features, texts = Meaning(encoder, static), ["zz b", "a b c", ""]
    head = np.random.default_rng(0).normal(size=features.rows("response", texts).shape[1])

    folded = features.folded(head)
    scorer = Scorer(static, {"response": folded[: Lexicon(static).width]}, {"response": 0.5})

    wanted = features.rows("response", texts) @ head + 0.5
    assert np.allclose(most_telling(texts, scorer, "response", folded, encoder.vectors), wanted, atol=1e-3)
    assert np.allclose(features.logits("response", texts, head, 0.5), wanted, atol=1e-3)
    assert np.allclose(features.unfolded(folded), head)


def test_the_wording_is_read_as_linear_reads_it_and_the_vectors_follow(encoder, static):
    texts = ["please water the plants", "zz"]
    wording = Lexicon(static).width

    ours, theirs = Meaning(encoder, static).rows("prompt", texts), Wording(static).rows("prompt", texts)

    assert ours.shape == (2, wording + encoder.width)
    assert (ours[:, :wording] != 0).toarray().tolist() == (theirs != 0).toarray().tolist()
    assert np.allclose(ours[:, wording:].toarray(), SCALES[-1] * encoder.vectors(texts))


def test_heads_can_be_fitted_to_any_encoder_and_belong_to_its_weights(encoder_folder, tmp_path):
    fit_domain(f"embedding:{encoder_folder}", rows(60), tmp_path)

    fitted = load_filter(f"embedding:{tmp_path}")
    unsafe, safe = fitted.score([Sample.of("q", "zz bb"), Sample.of("q", "aa bb")])

    assert (unsafe.action, safe.action) == ("revise", "keep")
    assert set(unsafe.scores) == {"response"}
    card = json.loads((tmp_path / "embedding.json").read_text())
    card["about"]["encoder_weights"] = "other"
    (tmp_path / "embedding.json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match="fitted to another encoder"):
        load_filter(f"embedding:{tmp_path}#dtype=float32")


def test_the_packages_heads_are_not_used_with_another_encoder(encoder_folder):
    with pytest.raises(ConfigError, match="safefed fit-filter DATA --filter embedding:"):
        load_filter(f"embedding:{encoder_folder}")


def test_changed_heads_are_refused(encoder_folder, tmp_path):
    fit_domain(f"embedding:{encoder_folder}", rows(60), tmp_path)
    (tmp_path / "embedding.safetensors").write_bytes(b"x")

    with pytest.raises(IntegrityError, match="is not the file"):
        load_filter(f"embedding:{tmp_path}")


def test_heads_of_an_older_format_are_refused_with_what_to_do(encoder_folder, tmp_path):
    fit_domain(f"embedding:{encoder_folder}", rows(60), tmp_path)
    card = json.loads((tmp_path / "embedding.json").read_text())
    (tmp_path / "embedding.json").write_text(json.dumps({**card, "format": 3}))

    with pytest.raises(IntegrityError, match="reads 4; refit it"):
        load_filter(f"embedding:{tmp_path}")
