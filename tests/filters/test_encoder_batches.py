import numpy as np
import pytest

from safefed.errors import ConfigError, DataError
from safefed.filters.encoder_batches import Encoder, split_dtype

TEXTS = ["", "b", "one two", "x" * 90, "go on " * 60, "one two", "\0", "\ud800", "Z" * 31]


@pytest.fixture(scope="module")
def load(tmp_path_factory, make_letter_bert):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("bert")
    make_letter_bert(folder, ["a", "b", "c"], {}, limit=32)

    def make(padding_side="right", **settings):
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=padding_side)
        return Encoder(AutoModelForSequenceClassification.from_pretrained(folder), tokenizer, **settings)

    return make


def test_outputs_depend_on_neither_batching_nor_company_nor_order(load):
    alone = [load(dtype="float32").outputs([text])[0] for text in TEXTS]

    for budget in (1, 100, 100_000):
        together = load(dtype="float32", budget=budget).outputs(TEXTS[::-1])[::-1]
        assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(alone, together, strict=True))
    assert [len(rows) for rows in alone[:4]] == [1, 1, 1, 4]


def test_equal_texts_run_once(load):
    encoder = load()
    windows = []
    encoder.run = lambda found: windows.extend(found) or Encoder.run(encoder, found)

    one, other, third = encoder.outputs(["one two", "three", "one two"])

    assert len(windows) == 2
    assert (one == third).all()
    assert not (one == other).all()


def test_a_tokenizer_that_pads_on_the_left_gives_batches_without_padding(load):
    encoder = load(dtype="float32", padding_side="left")
    masks = []
    encoder._model.register_forward_pre_hook(
        lambda _, __, given: masks.append(given["attention_mask"]), with_kwargs=True
    )

    padless, padded = encoder.outputs([*TEXTS, "two one"]), load(dtype="float32").outputs([*TEXTS, "two one"])

    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(padless, padded, strict=True))
    assert all(mask.all() for mask in masks)
    assert max(len(mask) for mask in masks) > 1


def test_no_texts_give_no_outputs(load):
    assert load().outputs([]) == []


def test_bfloat16_is_near_float32(load):
    exact, halved = (load(dtype=dtype).outputs(TEXTS) for dtype in ("float32", "bfloat16"))

    assert load(dtype="bfloat16").dtype == "bfloat16"
    assert all(np.allclose(a, b, atol=0.05) for a, b in zip(exact, halved, strict=True))


def test_a_lower_limit_gives_more_windows_and_none_gives_the_model_s(load):
    assert load().limit == load(limit=512).limit == 32
    assert [len(rows) for rows in load(limit=12).outputs(["x" * 30, "x" * 10])] == [4, 1]


def test_a_limit_without_room_for_text_is_refused(load):
    with pytest.raises(ConfigError, match="hold no text"):
        load(limit=2)


def test_a_tokenizer_that_cannot_pad_is_refused(load):
    encoder = load()
    encoder._tokenizer.pad_token = None

    with pytest.raises(DataError, match="no padding token"):
        Encoder(encoder._model, encoder._tokenizer)


def test_a_dtype_may_follow_the_name():
    assert split_dtype("/a/b#sha256=00#dtype=float32") == ("/a/b#sha256=00", "float32")
    assert split_dtype("unbiased") == ("unbiased", "auto")
    with pytest.raises(ConfigError, match="one of auto, float32, bfloat16, not 'half'"):
        split_dtype("unbiased#dtype=half")
