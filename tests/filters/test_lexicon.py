from itertools import pairwise

import numpy as np
import pytest

from safefed.filters.lexicon import DAMPING, FEATURES, LONGEST_PIECE, PAIRS, WORDS, Lexicon, pair_columns
from safefed.filters.passages import LENGTHS, Scorer, windows_of
from safefed.filters.word_table import WordTable

FILLER = "We walked along the river. Later there was soup and fresh bread. "


def words(lexicon, found):
    return [lexicon.index.words[row] for row in found.words]


def test_words_are_read_in_lower_case_and_pieces_end_with_sentences_and_lines():
    lexicon = Lexicon()

    found = lexicon.read(["One two. Three\nFour!", "", "…", "Don\u2019t stop"])

    assert words(lexicon, found) == ["one", "two", "three", "four", "don", "t", "stop"]
    assert found.starts.tolist() == [0, 2, 3, 4, 7]
    assert found.first.tolist() == [0, 3, 3, 3, 4]


def test_a_sentence_ends_at_a_mark_with_a_blank_after_it_and_nowhere_else():
    lexicon = Lexicon()

    found = lexicon.read(['a.b c."d e. f', '1.5 g!" h?  i ?! j'])

    assert [lexicon.index.words[row] for row in found.words[found.starts[:-1]]] == ["a", "f", "1", "i", "j"]


def test_capitals_of_any_alphabet_are_the_same_words():
    lexicon = Lexicon()

    upper, lower = (
        lexicon.read(["\u00c9COLE \u0414\u041e\u041c A\u03a3"]),
        lexicon.read(["\u00e9cole \u0434\u043e\u043c a\u03c2"]),
    )

    assert upper.words.tolist() == lower.words.tolist()


def test_texts_without_a_word_score_as_the_bias():
    scorer = Scorer(None, {"prompt": np.ones(FEATURES)}, {"prompt": 0.5})

    assert scorer.logits("prompt", []).tolist() == []
    assert scorer.logits("prompt", ["", "..."]).tolist() == scorer.whole("prompt", ["", "..."]).tolist() == [0.5, 0.5]


def test_a_shared_table_of_words_changes_no_score(monkeypatch):
    monkeypatch.setattr("safefed.filters.word_table.MOST_WORDS", 10)
    heads = np.random.default_rng(4).normal(size=(2, FEATURES))
    table = WordTable(None)
    shared = [Scorer(None, {"a": head}, {"a": 0.0}, table) for head in heads]

    for text in (FILLER, "roses and tulips", "one two three four five six seven"):
        for head, scorer in zip(heads, shared, strict=True):
            assert np.array_equal(scorer.logits("a", [text]), Scorer(None, {"a": head}, {"a": 0.0}).logits("a", [text]))


@pytest.mark.parametrize(
    "text", ["\x01\x02 a \x02", "\0", "\ud800x", "\u041aill \u0440eople", "\ufb01ne \u200bprint", "a\u2028b"]
)
def test_a_text_is_read_alike_alone_and_among_others(text):
    lexicon = Lexicon()

    alone, among = lexicon.read([text]), lexicon.read(["before", text, "after"])

    inside = among.words[among.starts[among.first[1]] : among.starts[among.first[2]]]
    assert inside.tolist() == alone.words.tolist()


def test_a_long_run_of_words_is_cut_from_its_beginning_whatever_stands_before():
    run = " ".join(f"w{i}" for i in range(3 * LONGEST_PIECE))
    lexicon = Lexicon()

    alone, after = lexicon.read([run]), lexicon.read([f"{FILLER}\n{run}"])

    assert np.diff(alone.starts).max() <= LONGEST_PIECE
    assert np.diff(after.starts)[-len(alone.starts) + 1 :].tolist() == np.diff(alone.starts).tolist()


def test_repeated_letters_and_overlong_words_do_not_make_new_words():
    lexicon = Lexicon()

    found = lexicon.read(["sooooo soooooooo", "x1" * 500, "x1" * 400])

    assert len({*found.words.tolist()}) == 2


def slow_logit(text, head, bias):
    """The formula of the module's docstring, word by word."""
    lexicon = Lexicon()
    found = [lexicon.index.words[row] for row in lexicon.read([text]).words]
    rows = [lexicon.index[word.encode()] for word in found]
    known = lexicon.words()
    hashes = known.hashes
    total = sum(head[known.columns[row]] for row in rows)
    pairs = [pair_columns(hashes[[a]], hashes[[b]])[0] for a, b in pairwise(rows)]
    total += sum(head[column] for column in pairs)
    grams = [column for row in rows for column in known.character[known.owner == row]]
    characters = sum(head[WORDS + PAIRS + column] for column in grams)
    n, c = len(rows) + len(pairs), len(grams)
    return total / np.sqrt(n + DAMPING) + characters / np.sqrt(c + DAMPING) + bias


def test_scores_are_those_of_the_formula():
    head = np.random.default_rng(0).normal(size=FEATURES)
    text = "please water the plants and the roses"

    assert Scorer(None, {"prompt": head}, {"prompt": 0.25}).logits("prompt", [text])[0] == pytest.approx(
        slow_logit(text, head, 0.25)
    )


def test_what_heads_are_fitted_on_is_what_they_are_scored_on():
    head = np.random.default_rng(1).normal(size=FEATURES)
    texts = ["One two. Three four!\nFive", "", "six seven eight", FILLER]

    rows = Lexicon().rows(texts)

    assert np.allclose(rows @ head, Scorer(None, {"a": head}, {"a": 0.0}).whole("a", texts))


def test_a_passage_scores_the_same_at_the_end_of_any_longer_text():
    head = np.random.default_rng(2).normal(size=FEATURES)
    scorer = Scorer(None, {"prompt": head}, {"prompt": 0.0})
    part = "How do I water the plants? They are dry"

    alone, after = scorer.logits("prompt", [part, f"{FILLER * 500}\n{part}"])

    assert after >= alone - 1e-9


def test_passages_cover_every_word_and_are_about_as_long_as_they_should_be():
    found = Lexicon().read([FILLER * 200, "short one", ""])

    begin, end, text = windows_of(found, LENGTHS)

    lengths = found.starts[end] - found.starts[begin]
    covered = np.zeros(len(found.words), dtype=bool)
    for a, b in zip(found.starts[begin], found.starts[end], strict=True):
        covered[a:b] = True
    assert covered.all()
    assert lengths.max() <= max(LENGTHS) + LONGEST_PIECE
    assert set(text.tolist()) == {0, 1}


def test_memory_of_words_is_bounded_and_forgetting_changes_nothing(monkeypatch):
    head = np.random.default_rng(3).normal(size=FEATURES)
    texts = [" ".join(f"word{i}x{j}" for j in range(20)) for i in range(50)]
    whole = Scorer(None, {"a": head}, {"a": 0.0}).logits("a", texts)

    monkeypatch.setattr("safefed.filters.word_table.MOST_WORDS", 100)
    scorer = Scorer(None, {"a": head}, {"a": 0.0})
    parts = np.concatenate([scorer.logits("a", texts[i : i + 5]) for i in range(0, 50, 5)])

    assert np.array_equal(whole, parts)
    assert len(scorer.lexicon.index.words) <= 203
