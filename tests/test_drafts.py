from safefed import drafts
from safefed.drafts import Drafts


def test_the_newest_place_with_the_longest_common_end_goes_on():
    known = Drafts()
    known.learn([1, 2, 3, 4, 5, 6], 2)
    known.learn([9, 2, 3, 7, 8], 2)

    assert known.guess([0, 2, 3], 4) == [7, 8]
    assert known.guess([1, 2, 3], 4) == [4, 5, 6]
    assert known.guess([1, 2, 3], 2) == [4, 5]
    assert known.guess([1, 2, 3], 0) == []


def test_nothing_is_guessed_after_what_was_never_said_or_only_asked():
    known = Drafts()
    known.learn([1, 2, 3, 4, 5], 4)

    assert known.guess([1, 2, 3], 4) == []
    assert known.guess([3, 4], 4) == [5]
    assert known.guess([4], 4) == []
    assert Drafts().guess([3, 4], 4) == []


def test_a_text_that_grows_is_guessed_as_far_as_it_is_known():
    known, text = Drafts(), [1, 2, 3]
    known.learn(text, 2)
    text += [4, 5]

    assert known.guess([1, 2], 9) == [3, 4, 5]


def test_no_more_places_are_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(drafts, "PLACES", 10)
    known = Drafts()

    for start in range(0, 300, 3):
        known.learn([start, start + 1, start + 2], 2)

    assert known.guess([297, 298], 4) == [299]
    assert known.guess([0, 1], 4) == []
