"""Guesses of how an answer goes on: what followed the same tokens in other answers."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST, MOST = 2, 3
"""Tokens by which a place in another answer is found again; the longer, the likelier it goes on alike."""

PLACES = 200_000
"""Tens of megabytes; when as many are known, they are forgotten."""


class Drafts:
    """What was said after which tokens, the newest place counting.

    The n-gram kind of speculative decoding (Leviathan et al., arXiv 2211.17192; Saxena's prompt lookup): a model reads
    its newest token and a guess at once and keeps of the guess what it would have said itself, so the greedy text is
    that without guesses. transformers' own works on one row at a time. Answers of one kind, refusals or critiques,
    resemble each other; the prompts are not looked through.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], tuple[list[int], int]] = {}

    def learn(self, text: list[int], start: int) -> None:
        """Note what ``text[start:]`` was said after; ``text`` is kept and may grow."""
        if len(self._places) > PLACES:
            self._places.clear()
        for place in range(start, len(text)):
            for n in range(FEWEST, min(MOST, place) + 1):
                self._places[tuple(text[place - n : place])] = (text, place)

    def guess(self, text: Sequence[int], at_most: int) -> list[int]:
        """How ``text`` goes on, [] where nothing like its end is known."""
        for n in range(MOST, FEWEST - 1, -1):
            if found := self._places.get(tuple(text[-n:])):
                other, place = found
                return other[place : place + at_most]
        return []
