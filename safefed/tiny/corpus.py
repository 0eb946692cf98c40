"""The pretraining text of the embedded model, as conversations whose last turn is what the model learns to say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safefed.overlap import Index, words
from safefed.records import Sample
from safefed.tiny import folders
from safefed.tiny.answers import plain_refusal, refusal
from safefed.tiny.benign import benign
from safefed.tiny.data import mini_prompts
from safefed.tiny.grammar import Pair, casual, for_pretraining
from safefed.tiny.harmful import Request, request
from safefed.tiny.lookalikes import lookalike
from safefed.tiny.mixed import mixed
from safefed.tiny.passages import about, passages
from safefed.tiny.tables import written
from safefed.tiny.transcripts import (
    Principles,
    clean_transcripts,
    default_principles,
    mixed_transcripts,
    unsafe_transcripts,
)

if TYPE_CHECKING:
    from safefed.overlap import Encode

SIZES: Mapping[str, int] = {
    "benign": 14000,
    "lookalike": 11000,
    "refusal": 12000,
    "mixed": 3000,
    "unsafe transcripts": 2500,
    "mixed transcripts": 2500,
    "clean transcripts": 1200,
}
"""Conversations drawn per part (transcripts: pairs of them); the data sets and the written texts are read whole."""
_LONGEST = 1000
_TIMES = {"asks": 2, "lookalike_asks": 3}
"""How often each whole prompt of ``texts/`` occurs, now and then in another spelling."""
MEANING_ONLY = "hh_rlhf, diasafety"
"""Texts without an answer to learn: they only teach what people's words mean."""
_REFUSALS_PER_PROMPT, _TRANSCRIPTS_PER_PROMPT = 3, 2
_REFUSALS_PER_GPTFUZZ_QUESTION = 6
_QUESTIONS_PER_PASSAGE = 2


def build(
    data: Path | None, seed: int = 0, scale: float = 1.0, encode: Encode | None = None
) -> tuple[list[Sample], dict[str, int]]:
    """The corpus in a fixed order, and its counts.

    Args:
        data: Folder of the public data sets; None builds from the grammars alone.
        seed: Decides every draw.
        scale: Multiplies ``SIZES`` (for tests and quick looks).
        encode: Sentence encoder for repetitions in meaning; None compares words only.

    Returns:
        The rows (a few thousand without an answer: ``MEANING_ONLY``), and how many there are per part, with
        ``dropped: exact``, ``dropped: 5-gram`` and ``dropped: cosine`` = rows that were left out because their prompt
        repeats an evaluation text, a prompt of ``mini`` or a held-out GPTFuzz question.

    Raises:
        DataError: a data set is missing in ``data``.
    """
    rng = random.Random(f"corpus:{seed}")  # noqa: S311  # not for secrets
    prose = [] if data is None else [answer for _, answer in folders.gpteacher(data)]
    rows = [*_written(rng, scale, prose), *([] if data is None else _read(data, rng, prose))]
    asked = [" ".join(words(row.meta.get("asked", row.prompt))) for row in rows]
    found = _repeats([*mini_prompts(), *([] if data is None else _forbidden(data))], sorted(set(asked)), encode)
    kept = [row for row, prompt in zip(rows, asked, strict=True) if prompt not in found]
    counts = Counter(row.source for row in kept)
    dropped = Counter(f"dropped: {found[prompt]}" for prompt in asked if prompt in found)
    return kept, {**dict(sorted(counts.items())), **dict(sorted(dropped.items()))}


def _repeats(forbidden: Sequence[str], prompts: Sequence[str], encode: Encode | None) -> dict[str, str]:
    """Which prompts repeat a forbidden text, and how: by words if so, else in meaning."""
    kinds: dict[str, str] = {}
    for repeat in Index(forbidden, encode).find(prompts):
        kinds.setdefault(prompts[repeat.row], repeat.kind)
    return kinds


def _forbidden(data: Path) -> Iterator[str]:
    yield from folders.evaluation_texts(data)
    yield from folders.gptfuzz_held_out(data)


def _drawn(make: Callable[[], Pair], n: int, part: str) -> Iterator[Sample]:
    for _ in range(n):
        yield _sample(for_pretraining(make), part)


def _sample(pair: Pair, part: str) -> Sample:
    return Sample.of(pair.prompt, pair.answer, source=f"safefed-tiny/{part}")


def _asked(rng: random.Random) -> Request:
    return for_pretraining(lambda: request(rng))


def _declined(asked: Request, rng: random.Random) -> Pair:
    return Pair(asked.prompt, refusal(asked.category, asked.goal, rng), asked.category)


def _written(rng: random.Random, scale: float, prose: Sequence[str]) -> Iterator[Sample]:
    sizes = {part: max(1, int(n * scale)) for part, n in SIZES.items()}
    principles = default_principles()
    yield from _drawn(lambda: benign(rng), sizes["benign"], "benign")
    yield from _drawn(lambda: lookalike(rng), sizes["lookalike"], "lookalike")
    yield from _drawn(lambda: _declined(_asked(rng), rng), sizes["refusal"], "refusal")
    yield from _whole(rng, scale, principles, prose)
    for _ in range(sizes["mixed"]):
        both = mixed(_asked(rng), rng)
        yield Sample.of(both.prompt, both.answer(rng), source="safefed-tiny/mixed", asked=both.harmful.prompt)
    for _ in range(sizes["unsafe transcripts"]):
        yield from unsafe_transcripts(_asked(rng), principles, prose, rng)
    for _ in range(sizes["mixed transcripts"]):
        yield from mixed_transcripts(mixed(_asked(rng), rng), principles, prose, rng)
    for _ in range(sizes["clean transcripts"]):
        yield from clean_transcripts(principles, rng)


def _whole(rng: random.Random, scale: float, principles: Principles, prose: Sequence[str]) -> Iterator[Sample]:
    """The prompts that were written out whole; none of them is in the client data."""
    for part in ("asks", "lookalike_asks"):
        for prompt, answer in _share(written(part), scale) * _TIMES[part]:
            yield Sample.of(casual(prompt, rng), answer, source=f"safefed-tiny/{part}")
    for category, prompt in _share(written("harmful_asks"), scale):
        yield from _natural(Request(prompt, category, None), "harmful_asks", principles, prose, rng)


def _natural(
    asked: Request, part: str, principles: Principles, prose: Sequence[str], rng: random.Random
) -> Iterator[Sample]:
    """A harmful prompt that no grammar made: refusals of it, critiques and revisions of answers to it."""
    for _ in range(_REFUSALS_PER_PROMPT):
        answer = refusal(asked.category, None, rng)
        yield Sample.of(casual(asked.prompt, rng), answer, source=f"{part} + refusal")
    for _ in range(_TRANSCRIPTS_PER_PROMPT):
        yield from unsafe_transcripts(asked, principles, prose, rng)


def _share(rows: tuple[tuple[str, ...], ...], scale: float) -> tuple[tuple[str, ...], ...]:
    return rows[: max(1, int(len(rows) * scale))]


def _read(data: Path, rng: random.Random, prose: Sequence[str]) -> Iterator[Sample]:
    for name, pairs in (("gpteacher", folders.gpteacher(data)), ("dolly", folders.dolly(data))):
        yield from (Sample.of(p, a, source=name) for p, a in pairs if a and len(p) + len(a) <= _LONGEST)
    for sentences in passages([*prose, *(prompt for prompt, _ in folders.dolly(data))]):
        yield from (_sample(about(sentences, rng), "passage") for _ in range(_QUESTIONS_PER_PASSAGE))
    principles = default_principles()
    for prompt, category in folders.ailuminate(data):
        yield from _natural(Request(prompt, category, None), "ailuminate", principles, prose, rng)
    for text in dict.fromkeys(folders.said_by_people(data)):
        if 0 < len(text) <= _LONGEST:
            yield Sample.of(text, source=MEANING_ONLY)
    for question in folders.gptfuzz_questions(data):
        for _ in range(_REFUSALS_PER_GPTFUZZ_QUESTION):
            yield Sample.of(question, plain_refusal(rng), source="gptfuzz bucket 1 + refusal")
