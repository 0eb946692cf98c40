"""``guard``: generative guard models (Llama Guard, ShieldGemma, WildGuard) as a filter.

A guard reads a conversation in its family's own prompt and answers with a word. Its score is the probability of the
word "unsafe" (or its like) among the two words it may answer with. A model that answers with anything else is not
believed: the sample becomes an error, never a keep. ``guards/*.json`` hold the prompts and where they come from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from safefed.config import ModelConfig
from safefed.filters.combine import combine, to_verdict
from safefed.filters.guard_answer import AnswerReader, Words, find_words
from safefed.filters.guard_profile import Profile, Question, choose, fitted, hazard, narrowed, read_argument
from safefed.filters.guard_prompt import LONGEST, Exchange, PromptWriter, Turns, own_form, talk
from safefed.generate import LocalGenerator
from safefed.models import LoadedModel, device_of, has_bfloat16, model_type, read_model
from safefed.records import Sample, Verdict, content_hash

LEAST_MASS = 0.5
"""Probability that the two words of a question must have together."""

_CATEGORY_TOKENS = 48


class Mark(NamedTuple):
    """The answer to one question on one part of an exchange; ``ids`` and ``start`` continue the model's answer."""

    score: float
    outside: float
    reason: str
    question: Question
    ids: tuple[int, ...] = ()
    start: tuple[int, ...] = ()


class GuardFilter:
    """Scores the axes that the guard's family knows: "prompt" and "response", with WildGuard also "refusal".

    Every request is asked about, and every answer together with its request. What is too long for a prompt is asked
    about in windows, to its end; the worst counts. ``Verdict.scores["outside"]`` is the highest probability of an
    answer that is no answer; above ``1 - LEAST_MASS`` the verdict is the error "not-a-guard-answer". The categories of
    flagged samples are generated.

    Args:
        argument: ``[FAMILY=]PATH_OR_HUB_ID[@REVISION][#KEY=VALUE,...]``: a folder or a hub id, on the hub with a pinned
            revision; the family where the model does not tell it; dtype, quantization, attention and device as in
            ``safefed.config.ModelConfig``. Remote code is never run, and only safetensors are read.
        threshold: The unsafe probability from which a row is to be revised.

    Attributes:
        loaded: The model.
        profile: The family in use, with the questions that are asked.
        writer: Writes the prompts.
        family: The family's name.
        template: "model" if the prompt is the model's own chat template, "safefed" if it is the family's JSON file.

    Raises:
        ConfigError: no such model or option, or a family that cannot be told or is not the model's.
        DataError: the model cannot be read, or cannot be a guard of its family.
    """

    def __init__(self, argument: str | None = None, *, threshold: float = 0.5) -> None:
        named, config = read_argument(argument)
        kind = model_type(config)
        loaded = read_model(_quick(config), chat=False)
        saved = fitted(config)
        self.profile = _profile(loaded, kind, named or (saved.family if saved else None))
        if saved:
            self.profile = narrowed(self.profile, saved.axes)
        self.loaded = loaded
        context = _context(loaded)
        self.writer = PromptWriter(loaded.tokenizer, self.profile, min(context, loaded.tokenizer.model_max_length))
        self._reader = AnswerReader(loaded)
        self._generator = LocalGenerator(loaded)
        self._words = {question: self._find(loaded, question) for question in self.profile.questions}
        self.family, self.template = self.profile.family, self.writer.source
        self.threshold = threshold
        self.name = f"guard:{argument}"
        parts = [self.profile.digest, self.writer.template, self._generator.revision, LONGEST, LEAST_MASS, threshold]
        self.revision = content_hash(parts)

    def _find(self, loaded: LoadedModel, question: Question) -> Words:
        return find_words(loaded.tokenizer, self.writer.text(("", ""), question, {}), question, self.profile.opening)

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """See ``Filter``; equal prompts are asked once per call."""
        talks = [talk(sample, self.profile.history) for sample in samples]
        marks = self._ask(list(dict.fromkeys(exchange for found in talks for exchange in found)))
        read = [[marks[exchange] for exchange in found] for found in talks]
        verdicts = [self._verdict(sample, found) for sample, found in zip(samples, read, strict=True)]
        flagged = [i for i, verdict in enumerate(verdicts) if verdict.action == "revise"]
        for i, (category, note) in zip(flagged, self._categories([read[i] for i in flagged]), strict=True):
            reason = "; ".join(filter(None, [verdicts[i].reason, note]))
            verdicts[i] = replace(verdicts[i], category=category, reason=reason)
        return verdicts

    def _ask(self, exchanges: Sequence[Exchange]) -> dict[Exchange, dict[str, Mark]]:
        """The worst mark of every exchange on every axis that concerns it."""
        worst: dict[Exchange, dict[str, Mark]] = {exchange: {} for exchange in exchanges}
        said: dict[Turns, dict[str, str]] = defaultdict(dict)
        for question in self.profile.questions:
            asked = [exchange for exchange in exchanges if exchange.concerns(question.axis)]
            parts = {exchange: self.writer.parts(exchange, question) for exchange in asked}
            marks = self._marks(question, list(dict.fromkeys(t for found in parts.values() for t in found)), said)
            for exchange, turns in parts.items():
                found = [marks[t] for t in turns] or [Mark(math.nan, math.nan, "does-not-fit-the-guard", question)]
                known = worst[exchange].get(question.axis)
                worst[exchange][question.axis] = max([*found, *([known] if known else [])], key=_badness)
        return worst

    def _marks(
        self, question: Question, parts: Sequence[Turns], said: dict[Turns, dict[str, str]]
    ) -> dict[Turns, Mark]:
        prompts = [tuple(self.writer.ids(turns, question, said[turns])) for turns in parts]
        marks = {}
        for turns, ids, answer in zip(parts, prompts, self._reader.read(prompts, self._words[question]), strict=True):
            believed = answer.outside <= 1.0 - LEAST_MASS  # False for NaN
            reason = "" if believed else "not-a-guard-answer"
            said[turns][question.axis] = question.words[answer.score < 0.5]
            marks[turns] = Mark(answer.score, answer.outside, reason, question, ids, answer.start)
        return marks

    def _verdict(self, sample: Sample, exchanges: Sequence[Mapping[str, Mark]]) -> Verdict:
        failed = [mark.reason for marks in exchanges for mark in marks.values() if mark.reason]
        if failed:
            return Verdict(sample.id, self.name, {}, 1.0, None, "error", failed[0], self.revision)
        rows = [_row(marks) for marks in exchanges]
        return to_verdict(sample.id, rows, name=self.name, revision=self.revision, threshold=self.threshold)

    def _categories(self, flagged: Sequence[Sequence[Mapping[str, Mark]]]) -> list[tuple[str | None, str]]:
        """Category and note of each flagged sample, by the mark that decided its verdict."""
        deciding = [_deciding(exchanges) for exchanges in flagged]
        if not self.profile.categories:
            return [(mark.question.hazard, "") for mark in deciding]
        answers = self._generator.extend([[*mark.ids, *mark.start] for mark in deciding], _CATEGORY_TOKENS)
        # The word may have more tokens than the first.
        return [hazard(_after(answer.text, mark.question.words[0]), self.profile)
                for answer, mark in zip(answers, deciding, strict=True)]  # fmt: skip


def _quick(config: ModelConfig) -> ModelConfig:
    """With bfloat16, in which guards are published, for "auto" wherever that is quicker, and not on GPUs alone."""
    quick = config.dtype == "auto" and has_bfloat16(device_of(config))
    return config.model_copy(update={"dtype": "bfloat16"}) if quick else config


def _context(loaded: LoadedModel) -> int:
    """Tokens the model can read; chunks of attention that its configuration leaves open become that long.

    Llama Guard 4 leaves them open (``attention_chunk_size: null``), which transformers does not run
    (github.com/meta-llama/PurpleLlama/issues/119). Prompts are shorter than any published chunk.
    """
    config = loaded.model.config.get_text_config()
    context = int(config.max_position_embeddings)
    if getattr(config, "attention_chunk_size", 0) is None:
        config.attention_chunk_size = context
    return context


def _profile(loaded: LoadedModel, kind: str, named: str | None) -> Profile:
    form = own_form(loaded.tokenizer, "")
    return choose(kind, form.codes if form else [], named, loaded.config.name)


def _badness(mark: Mark) -> tuple[bool, float]:
    """Orders marks of one axis: no answer is worst; then the highest score, or the least sure refusal."""
    score = 1.0 - mark.score if mark.question.axis == "refusal" else mark.score
    return bool(mark.reason), 0.0 if math.isnan(score) else score


def _row(marks: Mapping[str, Mark]) -> dict[str, float]:
    row = {axis: round(mark.score, 6) for axis, mark in marks.items()}
    return row | {"outside": round(max(0.0, *(mark.outside for mark in marks.values())), 6)} if marks else row


def _deciding(exchanges: Sequence[Mapping[str, Mark]]) -> Mark:
    asked = [marks for marks in exchanges if marks.keys() & {"prompt", "response"}]
    marks = max(asked, key=lambda marks: combine(_row(marks)))
    row = _row(marks)
    return marks["response"] if row.get("response", -1.0) >= combine(row) else marks["prompt"]


def _after(text: str, word: str) -> str:
    """``text`` without the rest of ``word`` that it may begin with."""
    rests = (word[i:] for i in range(1, len(word)))
    return text.removeprefix(next((rest for rest in rests if text.startswith(rest)), ""))
