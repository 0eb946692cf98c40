import hashlib
import math
import random
import socket
import urllib.error

import pytest

from safefed.errors import ConfigError, DataError, IntegrityError
from safefed.filters import load_filter
from safefed.filters.detoxify import DetoxifyFilter
from safefed.records import Sample

TOXIC = "zzz"
FILLER = "We had tea and bread near the river. " * 700


@pytest.fixture(scope="module")
def build(make_letter_bert):
    def make(folder, *, bias=-4.0):
        """A BERT in detoxify's checkpoint layout that calls text toxic if and only if it holds the letter z."""
        model = make_letter_bert(folder, ["toxic", "insult", "threat", "other"], {"insult": "z"}, bias=bias)
        state = model.state_dict()
        state["classifier.weight"][3], state["classifier.bias"][3] = 99.0, 9.0  # no class of the checkpoint's
        save(folder / "tiny.ckpt", state)
        return folder / "tiny.ckpt"

    return make


def save(path, state, **arch):
    import torch

    args = {"model_type": "bert-base-uncased", "model_name": "BertForSequenceClassification"}
    args |= {"tokenizer_name": "BertTokenizer", "num_classes": 4} | arch
    config = {"arch": {"args": args}, "dataset": {"args": {"classes": ["toxic", "insult", "threat"]}}}
    torch.save({"state_dict": state, "config": config}, path)
    record(path)


def record(path):
    path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, build):
    return build(tmp_path_factory.mktemp("detoxify"))


@pytest.fixture(scope="module")
def judge(checkpoint):
    return load_filter(f"detoxify:{checkpoint}")


def test_prompt_and_response_score_as_their_highest_toxicity_class(judge):
    polite, asked, answered = judge.score([Sample.of("hi", "yes"), Sample.of(TOXIC, "yes"), Sample.of("hi", TOXIC)])

    assert (polite.action, asked.action, answered.action) == ("keep", "revise", "revise")
    assert set(polite.scores) == {"prompt", "response"}
    assert (asked.reason, answered.reason) == ("harmful-prompt-complied", "harmful-response")


def test_toxic_text_after_five_thousand_words_is_caught_as_alone(judge):
    alone, after, between, none = judge.score(
        [Sample.of("hi", text) for text in (TOXIC, FILLER + TOXIC, FILLER + TOXIC + ". " + FILLER, FILLER)]
    )

    assert len(FILLER.split()) >= 5000
    assert alone.action == after.action == between.action == "revise"
    assert none.action == "keep"


@pytest.fixture(scope="module")
def random_checkpoint(tmp_path_factory, make_letter_bert):
    folder = tmp_path_factory.mktemp("random")
    model = make_letter_bert(folder, ["toxic", "insult", "threat", "other"], {}, limit=512)
    save(folder / "tiny.ckpt", model.state_dict(), model_type=str(folder))
    return folder / "tiny.ckpt"


def mixed_texts(longest, seed=0):
    """Texts of 0 to ``longest`` letters, each a token, with what a normaliser would touch between them."""
    draw = random.Random(seed)
    between = [" ", "\n", "  ", "\t", "\0", "\u200b", "\ufeff", "\u0430", "E", "\U0001f600", "!!!!!", "[SEP]"]
    for length in (0, 1, 2, longest, longest, *(draw.randrange(longest) for _ in range(35))):
        letters = [draw.choice("abcdefgz") for _ in range(length)]
        yield "".join(x + draw.choice(between) * (draw.random() < 0.2 and length < longest // 2) for x in letters)


def predicted(checkpoint, texts):
    """Upstream's highest class of each text, predicted by itself."""
    from detoxify import Detoxify

    upstream = Detoxify(checkpoint=checkpoint)
    return [max(upstream.predict(text).values()) for text in texts]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_texts_within_the_limit_score_as_upstream_predicts_them(random_checkpoint, dtype, tolerance):
    texts = list(mixed_texts(510))
    expected = predicted(random_checkpoint, texts)

    found = DetoxifyFilter(f"{random_checkpoint}#dtype={dtype}").probabilities("response", texts)

    assert found == pytest.approx(expected, abs=tolerance)
    assert max(expected) - min(expected) > 0.05


def test_a_longer_text_scores_at_least_as_upstream_predicts_its_first_window(random_checkpoint):
    texts = ["".join(random.Random(seed).choices("abcz ", k=2000)) for seed in range(5)]
    judge = DetoxifyFilter(f"{random_checkpoint}#dtype=float32")

    first = [1 / (1 + math.exp(-float(rows[0, :3].max()))) for rows in judge._encoder.outputs(texts)]

    assert first == pytest.approx(predicted(random_checkpoint, texts), abs=1e-5)
    assert all(score >= start - 1e-6 for score, start in zip(judge.probabilities("prompt", texts), first, strict=True))


def test_every_sample_gets_one_verdict_in_order(judge):
    samples = [Sample.of(text, text) for text in ("", "\0", TOXIC, "ok", "x y " * 500, TOXIC, "\0a", "\ud800")] * 3

    verdicts = judge.score(samples)

    assert [verdict.sample_id for verdict in verdicts] == [sample.id for sample in samples]
    assert [verdict.action for verdict in verdicts[:4]] == ["error", "error", "revise", "keep"]
    assert judge.score([]) == []


def test_a_checkpoint_with_one_byte_changed_is_refused_before_it_is_unpickled(tmp_path, build):
    path = build(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    with pytest.raises(IntegrityError, match="it was changed and is not loaded"):
        DetoxifyFilter(str(path))


def test_a_checkpoint_of_unknown_hash_is_refused_and_the_hash_may_stand_in_the_name(tmp_path, build):
    path = build(tmp_path)
    path.with_name("tiny.ckpt.sha256").unlink()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    with pytest.raises(IntegrityError, match="no known sha-256"):
        DetoxifyFilter(str(path))
    assert DetoxifyFilter(f"{path}#sha256={digest}").score([Sample.of(TOXIC)])[0].action == "revise"


def test_a_model_that_gives_nan_errs_on_every_sample(tmp_path, build):
    judge = DetoxifyFilter(str(build(tmp_path, bias=math.nan)))

    verdict = judge.score([Sample.of("hi", "yes")])[0]

    assert (verdict.action, verdict.reason) == ("error", "score-not-a-probability")


def test_the_revision_changes_with_the_weights(tmp_path, judge, build):
    assert DetoxifyFilter(str(build(tmp_path, bias=-3.0))).revision != judge.revision


def test_weights_of_another_model_are_refused_instead_of_filled_in_at_random(tmp_path, build):
    build(tmp_path)
    save(tmp_path / "empty.ckpt", {})

    with pytest.raises(DataError, match=r"lacks .* of the model's weights"):
        DetoxifyFilter(str(tmp_path / "empty.ckpt"))


def test_a_checkpoint_that_is_not_detoxify_s_is_a_data_error(tmp_path):
    import torch

    torch.save({"weights": torch.ones(1)}, tmp_path / "m.ckpt")
    record(tmp_path / "m.ckpt")

    with pytest.raises(DataError, match="not a detoxify checkpoint"):
        DetoxifyFilter(str(tmp_path / "m.ckpt"))


def test_an_unknown_model_and_a_missing_file_name_what_there_is():
    with pytest.raises(ConfigError, match="no model 'unbaised'; choose from original, unbiased"):
        DetoxifyFilter("unbaised")
    with pytest.raises(DataError, match="does not exist"):
        DetoxifyFilter("/nowhere/m.ckpt")


def test_a_named_model_that_cannot_be_downloaded_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)

    with pytest.raises(DataError, match=r"hub/checkpoints/toxic_debiased-c7548aa0\.ckpt is not there; download https"):
        DetoxifyFilter()


def test_a_named_model_whose_file_was_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "toxic_original-c1212f89.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"changed")

    with pytest.raises(IntegrityError, match="expected c1212f89"):
        DetoxifyFilter("original")


def _no_network(*_args, **_kwargs):
    raise urllib.error.URLError("no network here")
