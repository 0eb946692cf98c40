"""Critique, revise, screen again: what becomes of samples that a screen has flagged.

The supervised stage of Constitutional AI (Bai et al., arXiv 2212.08073, section 3.1) with three differences: the
principle is picked by hash, not by chance, so a run repeats; every revision is checked and screened again before it
counts; what does not pass is never kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from safefed.config import ReviseConfig
from safefed.constitution.checks import critique_problem, revision_problem, tidy
from safefed.constitution.principles import Constitution, Principle
from safefed.constitution.prompts import critique_conversation, revision_conversation
from safefed.generate import Generation, Generator
from safefed.records import Message, PreferencePair, Revision, Sample, Verdict

Screen = Callable[[Sequence[Sample]], list[Verdict]]

FALLBACK = "fallback:refuse"
"""Stands as the principle of a Revision that is a refusal template."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one flagged sample.

    Attributes:
        sample: The sample to train on, its answer replaced and its meta saying ``{"revised": True}`` (the label
            ``unsafe`` went with the old answer); None if it is dropped.
        revision: How it was revised; None if it is dropped. The principle of a refusal template is ``FALLBACK``.
        pair: Revised against original answer; only for a real revision of a single-turn conversation, since a
            PreferencePair has no place for earlier turns.
        reason: "revised", or why the last attempt failed: a code of ``safefed.constitution.checks``, "flagged",
            "unscored" (the screen could not tell) or "no-answer".
    """

    sample: Sample | None
    revision: Revision | None
    pair: PreferencePair | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """A candidate on its way; ``problem`` says why it cannot be used, a ``principle`` of None that it is a template."""

    sample: Sample
    principle: Principle | None = None
    attempts: int = 0
    critique: str = ""
    text: str = ""
    problem: str | None = None


def revise(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    constitution: Constitution,
    generator: Generator,
    screen: Screen,
    config: ReviseConfig,
) -> list[Outcome]:
    """Revise the final answers of flagged samples, all of them together, attempt after attempt.

    Args:
        samples: Flagged samples; equal ones are revised once. One without an answer goes straight to the fallback.
        verdicts: Their verdicts; the category picks the principles.
        constitution: Where the principles come from.
        generator: Writes critiques and revisions.
        screen: Judges each candidate; only the action "keep" passes.
        config: Attempts, length limit, fallback.

    Returns:
        One Outcome per sample, in order.

    Only the final answer is rewritten: harm in an earlier turn keeps its sample flagged, so that it is dropped.
    """
    stage = _Stage(constitution, generator, screen, config)
    categories = {verdict.sample_id: verdict.category for verdict in verdicts}
    drafts = {sample.id: _Draft(sample, problem="no-answer") for sample in samples}
    for attempt in range(config.attempts):
        pending = [draft.sample for draft in drafts.values() if draft.problem and draft.sample.response]
        drafts |= {draft.sample.id: draft for draft in stage.attempt(pending, categories, attempt)}
    reasons = {id_: draft.problem or "revised" for id_, draft in drafts.items()}
    if config.fallback == "refuse":
        failed = [draft for draft in drafts.values() if draft.problem]
        drafts |= {draft.sample.id: draft for draft in stage.refuse(failed)}
    return [_outcome(sample, drafts[sample.id], reasons[sample.id], generator.revision) for sample in samples]


@dataclass(frozen=True, slots=True)
class _Stage:
    constitution: Constitution
    generator: Generator
    screen: Screen
    config: ReviseConfig

    def attempt(self, samples: Sequence[Sample], categories: Mapping[str, str | None], attempt: int) -> list[_Draft]:
        """One attempt on every sample: critique, revision, checks, screen."""
        drafts = [_Draft(s, self.constitution.pick(categories[s.id], s.id, attempt), attempt + 1) for s in samples]
        for step in (self._critique, self._revision, self._screened):
            drafts = _where_sound(drafts, step)
        return drafts

    def refuse(self, failed: Sequence[_Draft]) -> list[_Draft]:
        """A refusal template for each, screened like any other answer."""
        drafts = [
            _Draft(d.sample, attempts=d.attempts, text=self.constitution.refusal_for(d.sample.id)) for d in failed
        ]
        return _where_sound(drafts, self._screened)

    def _ask(self, conversations: Sequence[Sequence[Message]]) -> list[Generation]:
        return self.generator.generate(conversations, max_new_tokens=self.config.max_new_tokens)

    def _critique(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        answers = self._ask([critique_conversation(d.sample, d.principle) for d in drafts if d.principle])
        return [
            replace(d, critique=answer.text.strip(), problem=critique_problem(answer.text))
            for d, answer in zip(drafts, answers, strict=True)
        ]

    def _revision(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        answers = self._ask([revision_conversation(d.sample, d.principle, d.critique) for d in drafts if d.principle])
        texts = [tidy(answer.text, cut=answer.finish == "length") for answer in answers]
        return [
            replace(d, text=text, problem=revision_problem(text, d.sample.response))
            for d, text in zip(drafts, texts, strict=True)
        ]

    def _screened(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        candidates = [_answered(d.sample, d.text) for d in drafts]
        verdicts = self.screen(candidates)
        return [
            replace(d, problem=_screen_problem(candidate, verdict))
            for d, candidate, verdict in zip(drafts, candidates, verdicts, strict=True)
        ]


def _where_sound(drafts: Sequence[_Draft], step: Callable[[Sequence[_Draft]], list[_Draft]]) -> list[_Draft]:
    """``step`` applied to the drafts without a problem, the others as they are, order kept."""
    sound = [draft for draft in drafts if draft.problem is None]
    done = iter(step(sound) if sound else ())
    return [draft if draft.problem else next(done) for draft in drafts]


def _screen_problem(candidate: Sample, verdict: Verdict) -> str | None:
    if verdict.sample_id != candidate.id or verdict.action == "error":
        return "unscored"
    return None if verdict.action == "keep" else "flagged"


def _outcome(sample: Sample, draft: _Draft, reason: str, model_revision: str) -> Outcome:
    if draft.problem:
        return Outcome(None, None, None, reason)
    principle = draft.principle.id if draft.principle else FALLBACK
    revision = Revision(sample.id, principle, draft.critique, draft.text, model_revision, draft.attempts)
    return Outcome(_answered(sample, draft.text), revision, _pair(sample, draft), reason)


def _answered(sample: Sample, text: str) -> Sample:
    meta = {key: value for key, value in sample.meta.items() if key != "unsafe"} | {"revised": True}
    return replace(sample.with_response(text), meta=meta)


def _pair(sample: Sample, draft: _Draft) -> PreferencePair | None:
    if draft.principle is None or [message.role for message in sample.context] != ["user"]:
        return None
    return PreferencePair(sample.prompt, draft.text, sample.response)
