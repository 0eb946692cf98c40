import random

from safefed.tiny.passages import about, passages

TEXT = "The tram left late. It was full of people with wet umbrellas. Nobody spoke until the bridge came into view."


def test_a_request_about_a_passage_holds_it_and_is_answered_with_its_first_sentence():
    pair = about(passages([TEXT])[0], random.Random(1))

    assert TEXT in pair.prompt
    assert pair.answer == "The tram left late."


def test_short_texts_and_texts_of_one_sentence_make_no_passage_and_long_ones_are_cut():
    assert not passages(["Too short. Really.", "One sentence that goes on and on without an end " * 3])
    assert len(" ".join(passages([TEXT * 20])[0])) <= 420
