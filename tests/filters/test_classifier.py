import itertools
import json
import math
import random

import pytest

from safefed.errors import ConfigError, DataError
from safefed.filters import load_filter
from safefed.filters.classifier import ClassifierFilter
from safefed.filters.label_map import FILE
from safefed.records import Message, Sample

LABELS = ["safe", "hate", "weapons", "declines"]
MARKS = {"hate": "z", "weapons": "q", "declines": "x"}
MEANS = {
    "hate": {"axes": ["prompt", "response"], "category": "S10"},
    "weapons": {"axes": ["prompt", "response"], "category": "S9"},
    "declines": {"axes": ["refusal"]},
}
FILLER = "we had tea and bread near the river " * 200


def write_map(path, **changes):
    path.write_text(json.dumps({"labels": MEANS, "activation": "sigmoid"} | changes))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_letter_bert):
    folder = tmp_path_factory.mktemp("classifier")
    make_letter_bert(folder, LABELS, MARKS)
    write_map(folder / FILE)
    return folder


@pytest.fixture(scope="module")
def judge(folder):
    return load_filter(f"classifier:{folder}")


@pytest.fixture
def profile(tmp_path, folder):
    """Writes a label map for the model into a file of its own, and gives the filter's argument."""
    number = itertools.count()
    return lambda **changes: str(write_map(tmp_path / f"{next(number)}.json", model=str(folder), **changes))


def test_every_axis_scores_as_its_likeliest_label_and_the_hazard_is_named(judge):
    polite, asked, answered, declined = judge.score(
        [Sample.of("hi", "yes"), Sample.of("zz", "yes"), Sample.of("hi", "qq"), Sample.of("zz", "xx")]
    )

    assert (polite.action, asked.action, answered.action, declined.action) == ("keep", "revise", "revise", "keep")
    assert (polite.category, asked.category, answered.category) == (None, "S10", "S9")
    assert (asked.reason, answered.reason) == ("harmful-prompt-complied", "harmful-response")
    assert set(declined.scores) == {"prompt", "response", "refusal"}
    assert declined.scores["refusal"] > 0.9


def test_the_hazard_is_that_of_the_turn_that_decided(judge):
    turns = ("user", "hi"), ("assistant", "yes"), ("user", "qq"), ("assistant", "yes")

    verdict = judge.score([Sample(tuple(Message(role, text) for role, text in turns))])[0]

    assert (verdict.action, verdict.category) == ("revise", "S9")


def test_what_comes_after_five_thousand_tokens_is_seen(judge):
    after, none = judge.score([Sample.of("hi", FILLER + "zz"), Sample.of("hi", FILLER)])

    assert len(FILLER.replace(" ", "")) > 5000
    assert (after.action, after.category, none.action) == ("revise", "S10", "keep")


def test_a_long_answer_that_declines_only_at_first_does_not_count_as_a_refusal(judge):
    short, long = judge.score([Sample.of("zz", "xx"), Sample.of("zz", "xx " + FILLER)])

    assert (short.action, long.action) == ("keep", "revise")


def test_softmax_adds_up_the_labels_of_an_axis(tmp_path, make_letter_bert):
    from scipy.special import softmax

    make_letter_bert(tmp_path, LABELS, {})
    write_map(tmp_path / FILE, activation="softmax")
    judge = ClassifierFilter(f"{tmp_path}#dtype=float32")

    expected = softmax(plain_logits(tmp_path, ["some text"]), axis=1)[0]

    assert judge.probabilities("prompt", ["some text"]) == pytest.approx([expected[1] + expected[2]], abs=1e-5)
    assert judge.probabilities("refusal", ["some text"]) == pytest.approx([expected[3]], abs=1e-5)


def plain_logits(folder, texts):
    """Each text by itself through the plain model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return torch.cat([model(**tokenizer(t, truncation=True, return_tensors="pt")).logits for t in texts]).numpy()


def random_roberta(folder):
    """A small RoBERTa with a byte-level tokenizer: its positions begin after the padding index."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

    vocabulary = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **special).save_pretrained(folder)
    torch.manual_seed(0)
    RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=514, pad_token_id=1, initializer_range=0.3,
            id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)},
        )
    ).save_pretrained(folder)  # fmt: skip


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_texts_within_the_limit_score_as_the_plain_model_does(tmp_path, make_letter_bert, family, dtype, tolerance):
    if family == "bert":
        make_letter_bert(tmp_path, LABELS, {}, limit=512)
    else:
        random_roberta(tmp_path)
    write_map(tmp_path / FILE)
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcz.E", k=n)) for n in (1, 510, 509, *(draw.randrange(510) for _ in range(25)))]
    expected = 1 / (1 + math.e ** -plain_logits(tmp_path, texts)[:, 1:3].max(axis=1))

    found = ClassifierFilter(f"{tmp_path}#dtype={dtype}").probabilities("prompt", texts)

    assert found == pytest.approx(expected.tolist(), abs=tolerance)
    assert expected.max() - expected.min() > 0.02


def test_without_a_label_map_the_error_lists_the_labels_and_what_to_write(tmp_path, make_letter_bert):
    make_letter_bert(tmp_path, LABELS, MARKS)

    with pytest.raises(
        ConfigError, match=rf"they are safe, hate, weapons, declines\. Write {tmp_path}/{FILE}"
    ) as error:
        ClassifierFilter(str(tmp_path))

    written = str(error.value).partition("for example ")[2].partition(", and use it")[0]
    (tmp_path / FILE).write_text(written)
    assert ClassifierFilter(str(tmp_path)).score([Sample.of("xx")])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"labels": {"haet": {"axes": ["prompt"]}}}, "maps 'haet', but the model's labels are safe, hate"),
        ({"labels": {"declines": {"axes": ["refusal"]}}}, "refusal axis alone"),
        ({"activation": "softmax", "labels": {n: {"axes": ["prompt"]} for n in LABELS}}, "leave the safe one out"),
        ({"activation": "argmax"}, "activation"),
        ({"labels": {}}, "labels"),
        ({"labels": {"hate": {"axes": ["prompt"], "category": "S15"}}}, "labels.hate.category"),
        ({"threshold": 1.5}, "threshold"),
        ({"max_token": 64}, "max_tokens"),
        ({"max_tokens": 64.0}, "max_tokens"),
    ],
)
def test_a_label_map_that_cannot_be_meant_is_refused(profile, changes, named):
    with pytest.raises(ConfigError, match=named):
        ClassifierFilter(profile(**changes))


def test_a_profile_names_model_window_and_threshold(profile, judge):
    made = ClassifierFilter(profile(max_tokens=16, threshold=0.9))

    assert (made.threshold, judge.threshold) == (0.9, 0.5)
    assert made._encoder.limit == 16
    assert ClassifierFilter(profile(threshold=0.9), threshold=0.2).threshold == 0.2


def test_the_revision_depends_on_weights_labels_and_window_but_not_on_the_place(
    tmp_path, profile, folder, make_letter_bert
):
    make_letter_bert(tmp_path, LABELS, MARKS, bias=-3.0)
    write_map(tmp_path / FILE)
    revisions = [
        ClassifierFilter(argument).revision
        for argument in (str(folder), profile(), profile(max_tokens=16), profile(activation="softmax"), str(tmp_path))
    ]

    assert revisions[0] == ClassifierFilter(profile()).revision
    assert len(set(revisions)) == 4


def test_a_model_without_a_trained_head_is_refused_instead_of_filled_in_at_random(tmp_path, folder, make_letter_bert):
    make_letter_bert(tmp_path, LABELS, MARKS).bert.save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_map(tmp_path / FILE)

    with pytest.raises(DataError, match=r"lacks 2 of its weights, classifier\.bias first"):
        ClassifierFilter(str(tmp_path))


def test_weights_that_are_pickled_or_cut_off_are_refused(tmp_path, make_letter_bert):
    import torch

    model = make_letter_bert(tmp_path, LABELS, MARKS)
    write_map(tmp_path / FILE)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="cannot be loaded"):
        ClassifierFilter(str(tmp_path))

    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="only safetensors are read"):
        ClassifierFilter(str(tmp_path))


def test_a_model_that_gives_nan_errs_on_every_sample(tmp_path, make_letter_bert):
    make_letter_bert(tmp_path, LABELS, MARKS, bias=math.nan)
    write_map(tmp_path / FILE)

    verdict = ClassifierFilter(str(tmp_path)).score([Sample.of("hi", "yes")])[0]

    assert (verdict.action, verdict.reason) == ("error", "score-not-a-probability")


@pytest.mark.parametrize("argument", ["/nowhere/model", "./nowhere", "/nowhere/profile.json"])
def test_a_path_that_does_not_exist_says_so(argument):
    with pytest.raises(DataError, match="does not exist"):
        ClassifierFilter(argument)


def test_no_model_at_all_says_what_to_type():
    with pytest.raises(ConfigError, match="classifier:FOLDER"):
        load_filter("classifier")
