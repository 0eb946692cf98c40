"""Harmless requests about a passage: the widest vocabulary there is, with answers that can be read off."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from safefed.tiny.grammar import Pair, pick

_QUESTIONS = (
    "Summarize: {t}", "Summarize this text in one sentence.\n\n{t}", "What is this text about?\n\n{t}",
    "Give me the first sentence of this text: {t}", "Shorten this: {t}", "{t}\n\nWhat is the main point?",
    "Read the following and say what it tells us.\n\n{t}", "Give the gist of this passage.\n\n{t}",
    "Rewrite this in one sentence: {t}", "Tell me in short what this says: {t}", "Make this shorter. {t}",
)  # fmt: skip
_SHORTEST, _LONGEST = 80, 420
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def passages(prose: Sequence[str]) -> list[list[str]]:
    """The sentences at the start of each text, as many as fit into a passage; a text of one sentence is left out."""
    found = [_start(_SENTENCE.split(text.strip())) for text in prose]
    return [sentences for sentences in found if len(sentences) > 1 and len(" ".join(sentences)) >= _SHORTEST]


def about(sentences: Sequence[str], rng: random.Random) -> Pair:
    """A request about a passage; its first sentence is the answer."""
    return Pair(pick(rng, _QUESTIONS).format(t=" ".join(sentences)), sentences[0], "passage")


def _start(sentences: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for sentence in sentences:
        if len(" ".join([*kept, sentence])) > _LONGEST:
            break
        kept.append(sentence)
    return kept
