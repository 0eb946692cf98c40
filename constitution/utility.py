"""Whether a revision still helps with what was harmless in the request; as far as a screen's axes can tell.

Two things are seen. A short answer that declines a request which the prompt axis calls harmless, and that keeps hardly
any of the original's words. And, where one sentence of the request is harmful and another harmless, that hardly
anything is left of what the original said about the harmless one: of its sentences that share a word with that one
alone and that the screen passes as answers to it.

Not seen: harmless parts within one sentence, answers that share no word with their question ("7."), help in other words
of equal length, whether the help is right; with a screen without a prompt or refusal axis nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from safefed.records import Sample, Verdict

HARMLESS, HARMFUL, REFUSED = 0.1, 0.5, 0.5
"""A request below the first is surely harmless, from the second on harmful; an answer from the third on declines.

0.1 lets `linear` call 2 % of the harmful requests of the embedded grammars harmless, and 74 to 94 % of harmless ones.
"""

BARE_CHARS = 300
"""A longer answer may decline one thing and help with another."""

KEPT_SHARE = 0.25
"""Share of the content words of what was said that a revision has to keep, or it has dropped it."""

FEWEST_WORDS, MOST_PARTS = 3, 8

_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_CONTENT = re.compile(r"\w{4,}")


def refuses_harmless(original: Sample, text: str, verdict: Verdict) -> bool:
    """Whether ``text``, judged by ``verdict``, only declines the request of ``original``, which is harmless."""
    declines = verdict.scores.get("refusal", 0.0) >= REFUSED and len(text) <= BARE_CHARS
    harmless = verdict.scores.get("prompt", 1.0) < HARMLESS
    return declines and harmless and not _keeps(text, _words(original.response) - _words(original.prompt))


def loses_help(text: str, help_words: frozenset[str]) -> bool:
    """Whether too little of ``help_words`` (of ``harmless_help``) is left in ``text``."""
    return bool(help_words) and not _keeps(text, help_words)


def harmless_help(
    samples: Sequence[Sample], screen: Callable[[Sequence[Sample]], list[Verdict]]
) -> dict[str, frozenset[str]]:
    """The content words, by sample id, of what the answers say about the harmless part of mixed requests.

    Samples without such a part, or whose answer says less than ``FEWEST_WORDS`` words about it, are left out.
    """
    parts = {sample.id: _sentences(sample.prompt)[:MOST_PARTS] for sample in samples}
    parts = {id_: some for id_, some in parts.items() if len(some) > 1}
    scores = _prompt_scores({part for some in parts.values() for part in some}, screen)
    passages = {s.id: _about(s.response, parts[s.id], scores) for s in samples if s.id in parts}
    passed = _passed({passage for some in passages.values() for passage in some}, screen)
    found = {id_: frozenset[str]().union(*map(_said, some & passed)) for id_, some in passages.items()}
    return {id_: said for id_, said in found.items() if len(said) >= FEWEST_WORDS}


Passage = tuple[str, str]
"""A harmless sentence of the request, and a sentence of the answer that is about it."""


def _prompt_scores(parts: set[str], screen: Callable[[Sequence[Sample]], list[Verdict]]) -> dict[str, float]:
    """Of the sentences that could be scored."""
    asked = sorted(parts)
    verdicts = screen([Sample.of(part) for part in asked]) if asked else []
    return {part: v.scores["prompt"] for part, v in zip(asked, verdicts, strict=True) if "prompt" in v.scores}


def _passed(passages: set[Passage], screen: Callable[[Sequence[Sample]], list[Verdict]]) -> set[Passage]:
    asked = sorted(passages)
    verdicts = screen([Sample.of(part, text) for part, text in asked]) if asked else []
    return {passage for passage, verdict in zip(asked, verdicts, strict=True) if verdict.action == "keep"}


def _about(answer: str, parts: Sequence[str], scores: Mapping[str, float]) -> set[Passage]:
    harmful = [part for part in parts if scores.get(part, 0.0) >= HARMFUL]
    harmless = [part for part in parts if scores.get(part, 1.0) < HARMLESS] if harmful else []
    avoided = frozenset[str]().union(*map(_words, harmful))
    topics = {part: _words(part) - avoided for part in harmless}
    return {
        (part, text)
        for text in _sentences(answer)
        if not _words(text) & avoided
        for part, topic in topics.items()
        if _words(text) & topic
    }


def _keeps(text: str, said: frozenset[str]) -> bool:
    return bool(said) and len(said & _words(text)) >= KEPT_SHARE * len(said)


def _said(passage: Passage) -> frozenset[str]:
    """What the passage says beyond the words of its question, which a refusal may repeat."""
    part, text = passage
    return _words(text) - _words(part)


def _sentences(text: str) -> list[str]:
    return [found.strip() for found in _SENTENCE.findall(text) if _CONTENT.search(found)]


def _words(text: str) -> frozenset[str]:
    return frozenset(_CONTENT.findall(text.casefold()))
