from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safefed.filters import tokens
from safefed.filters.tokens import spans, special_tokens, token_ids, token_limit


@given(st.integers(0, 5000), st.integers(1, 600))
def test_windows_cover_every_token_to_the_end_and_overlap(n, size):
    found = spans(n, size)

    assert found[0][0] == 0
    assert found[-1][1] == n
    assert all(end - start == min(n, size) for start, end in found)
    assert all(a[0] < b[0] <= a[1] - size // 4 for a, b in pairwise(found))


@pytest.mark.parametrize("n", [0, 1, 510])
def test_what_fits_is_one_window(n):
    assert spans(n, 510) == [(0, n)]


@pytest.fixture(scope="module")
def bert(tmp_path_factory, make_letter_bert):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("bert")
    model = make_letter_bert(folder, ["a", "b"], {}, limit=32)
    return model, AutoTokenizer.from_pretrained(folder)


def test_bulk_tokens_framed_by_special_ones_are_the_tokenizer_s_own(bert):
    _, tokenizer = bert
    texts = ["", "one", "Two, three!\n", "x" * 80, "\0", "[SEP] caf\u00e9"]

    before, after = special_tokens(tokenizer)

    assert [[*before, *ids, *after] for ids in token_ids(tokenizer, texts)] == [
        tokenizer(t)["input_ids"] for t in texts
    ]


def test_a_text_too_long_to_tokenise_at_once_gives_the_same_tokens_in_parts(bert, monkeypatch):
    _, tokenizer = bert
    texts = ["some words that go on " * 20, "short", "and more " * 30]
    whole = [ids.tolist() for ids in token_ids(tokenizer, texts)]

    monkeypatch.setattr(tokens, "CHARACTERS", 64)

    assert [ids.tolist() for ids in token_ids(tokenizer, texts)] == whole


def test_a_lone_surrogate_does_not_crash_and_a_pair_is_its_character(bert):
    _, tokenizer = bert

    lone, without, pair, whole = token_ids(tokenizer, ["a \ud800 b", "a b", "a \ud83d\ude00", "a \U0001f600"])

    assert lone.tolist() == without.tolist()  # BERT reads nothing where U+FFFD stands
    assert pair.tolist() == whole.tolist()


def test_the_limit_is_the_smallest_that_model_and_tokenizer_know(bert):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    model, tokenizer = bert
    shape = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    roberta = RobertaForSequenceClassification(
        RobertaConfig(vocab_size=9, max_position_embeddings=26, pad_token_id=1, **shape)
    )

    assert token_limit(model, tokenizer) == 32
    assert token_limit(roberta, tokenizer) == 24
