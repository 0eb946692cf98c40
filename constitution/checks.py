"""Whether a model's critique or revision is fit to be used at all; whether it is safe is the screen's question.

Each check returns a reason code, or None if there is nothing to object to.
"""

from __future__ import annotations

import re
import zlib

from safefed.escape import has_control

MAX_GROWTH = 4
FLOOR_CHARS = 200
"""A revision may have ``MAX_GROWTH`` times the characters of the original plus ``FLOOR_CHARS``."""

_PREAMBLE = re.compile(
    r"\A\W*(?:[^\n:]{0,30}\bhere(?:'s|\u2019s| is)\b[^\n:.!?]{0,60}\b|\w+ )?"
    r"(?:answer|response|version|revision|rewrite)\b[^\n:.!?]{0,60}:[\s*_]*",
    re.IGNORECASE,
)
_UNCHANGED = re.compile(
    r"\A\W*(?:there (?:is|are) |i see )?no (?:need|(?:further )?(?:changes?|revisions?|rewrit\w+|edits?))\b"
    r"|\A\W*the (?:answer|response) (?:is|was) (?:already )?(?:fine|good|ok|okay|safe|acceptable|harmless)\b",
    re.IGNORECASE,
)
_ECHO = re.compile(r"^\s*(?:request|answer|critique|revision)\s*:", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f][\"')\u201d\u2019]*(?=\s|\Z)")

_QUOTED_CHARS = 20
"""Originals of as many characters must not stand whole in their revision; "Yes." may."""

_REPEATS = 4
_LOOP_BYTES = 160
_LOOP_RATIO = 0.25


def tidy(text: str, *, cut: bool) -> str:
    """``text`` without one leading preamble ("Here is the revised answer:").

    With ``cut`` (the generation ran into its limit) also without the unfinished last sentence, "" if there is no other.
    """
    text = _PREAMBLE.sub("", text.strip(), count=1).strip()
    if not cut:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""


def critique_problem(critique: str) -> str | None:
    """What is wrong with a critique: "empty-critique", "looping-critique"."""
    if not _has_words(critique):
        return "empty-critique"
    return "looping-critique" if is_looping(critique) else None


def revision_problem(revised: str, original: str, last: str | None = None) -> str | None:
    """What is wrong with a tidied revision of ``original``, or of ``last``, which an earlier round made of it.

    "empty" (no letter in it), "identical" (to either), "repeats" (the whole original stands in it), "too-long",
    "control-token", "preamble" (or an echo of the question's fields), "unchanged" (it only says that nothing need
    change), "looping".
    """
    if not _has_words(revised):
        return "empty"
    plain = _plain(original)
    if _plain(revised) in (plain, _plain(last or original)):
        return "identical"
    if len(plain) >= _QUOTED_CHARS and plain in _plain(revised):
        return "repeats"
    if len(revised) > MAX_GROWTH * len(original) + FLOOR_CHARS:
        return "too-long"
    if has_control(revised):
        return "control-token"
    if _PREAMBLE.match(revised) or _ECHO.search(revised):
        return "preamble"
    if _UNCHANGED.match(revised):
        return "unchanged"
    return "looping" if is_looping(revised) else None


def is_looping(text: str) -> bool:
    """Whether a phrase of 1 to 8 words stands four times in a row, or long text is made of few different pieces."""
    words = text.casefold().split()
    if any(_repeats(words, size) for size in range(1, 9)):
        return True
    raw = text.encode("utf-8", "replace")
    return len(raw) >= _LOOP_BYTES and len(zlib.compress(raw, 9)) < _LOOP_RATIO * len(raw)


def _repeats(words: list[str], size: int) -> bool:
    """Whether ``words[i] == words[i + size]`` for a run of (_REPEATS - 1) * size places."""
    run = 0
    for left, right in zip(words, words[size:], strict=False):
        run = run + 1 if left == right else 0
        if run >= (_REPEATS - 1) * size:
            return True
    return False


def _has_words(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
