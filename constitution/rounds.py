"""Attempts and rounds: how a flagged answer becomes a candidate, and what is said against each candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from safefed.config import ReviseConfig
from safefed.constitution.checks import critique_problem, revision_problem, tidy
from safefed.constitution.principles import Constitution, Principle
from safefed.constitution.prompts import critique_conversation, revision_conversation
from safefed.constitution.utility import loses_help, refuses_harmless
from safefed.errors import IntegrityError
from safefed.generate import Generation, Generator
from safefed.records import Message, Sample, Verdict

Screen = Callable[[Sequence[Sample]], list[Verdict]]

FLAGGED, NO_GENERATION = "flagged", "no-generation"


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate answer on its way.

    Attributes:
        sample: The flagged sample.
        verdict: Why it was flagged.
        text: The candidate; at first the original answer.
        problem: Why it cannot be used, None if it can.
        last: What the last round critiqued and revised.
        principle: What it was revised by; None for the original and for a refusal template.
        critique: What the last round's critique said.
        attempts: Attempts so far.
        rounds: Rounds in the last attempt.
    """

    sample: Sample
    verdict: Verdict
    text: str
    problem: str | None
    last: str = ""
    principle: Principle | None = None
    critique: str = ""
    attempts: int = 0
    rounds: int = 0


@dataclass(frozen=True, slots=True)
class Rounds:
    """What makes and judges candidates.

    Attributes:
        help_words: By sample id, what ``utility.harmless_help`` found.
    """

    constitution: Constitution
    generator: Generator
    screen: Screen
    config: ReviseConfig
    help_words: Mapping[str, frozenset[str]]

    def attempt(self, drafts: Sequence[Draft], attempt: int) -> list[Draft]:
        """One attempt on every draft, from its original answer: round after round while the screen alone objects."""
        begun = [Draft(d.sample, d.verdict, d.sample.response, FLAGGED, attempts=attempt + 1) for d in drafts]
        for _ in range(self.config.rounds):
            begun = _where(FLAGGED, begun, self._round)
        return begun

    def refuse(self, failed: Sequence[Draft]) -> list[Draft]:
        """A refusal template for each, screened like any other answer."""
        texts = [self.constitution.refusal_for(d.sample.id) for d in failed]
        templates = [
            Draft(d.sample, d.verdict, t, None, attempts=d.attempts) for d, t in zip(failed, texts, strict=True)
        ]
        return _where(None, templates, self._screened)

    def _round(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Critique, revision, checks and screen, each for what the one before found nothing against."""
        begun = [
            replace(d, last=d.text, principle=self._principle(d), rounds=d.rounds + 1, problem=None) for d in drafts
        ]
        for step in (self._critique, self._revision, self._screened, self._useful):
            begun = _where(None, begun, step)
        return begun

    def _principle(self, draft: Draft) -> Principle:
        turn = (draft.attempts - 1) * self.config.rounds + draft.rounds
        return self.constitution.pick(draft.verdict.category, draft.sample.id, turn, seed=self.config.seed)

    def _critique(self, drafts: Sequence[Draft]) -> list[Draft]:
        asked = [(d.sample.with_response(d.last), d.principle) for d in drafts]
        answers = self._ask([critique_conversation(sample, principle) for sample, principle in asked if principle])
        return [
            replace(d, critique=answer.text.strip(), problem=_failed(answer) or critique_problem(answer.text))
            for d, answer in zip(drafts, answers, strict=True)
        ]

    def _revision(self, drafts: Sequence[Draft]) -> list[Draft]:
        asked = [(d.sample.with_response(d.last), d.principle, d.critique) for d in drafts]
        answers = self._ask([revision_conversation(s, p, critique) for s, p, critique in asked if p])
        texts = [tidy(answer.text, cut=answer.finish == "length") for answer in answers]
        return [
            replace(d, text=text, problem=_failed(answer) or revision_problem(text, d.sample.response, d.last))
            for d, text, answer in zip(drafts, texts, answers, strict=True)
        ]

    def _ask(self, conversations: Sequence[Sequence[Message]]) -> list[Generation]:
        answers = self.generator.generate(conversations, max_new_tokens=self.config.max_new_tokens)
        _check_count(len(answers), len(conversations), "the generator")
        return answers

    def _screened(self, drafts: Sequence[Draft]) -> list[Draft]:
        candidates = [answered(d.sample, d.text) for d in drafts]
        verdicts = self.screen(candidates)
        return [
            replace(d, problem=_screen_problem(d.sample, candidate, verdict))
            for d, candidate, verdict in zip(drafts, candidates, verdicts, strict=True)
        ]

    def _useful(self, drafts: Sequence[Draft]) -> list[Draft]:
        lost = [loses_help(d.text, self.help_words.get(d.sample.id, frozenset())) for d in drafts]
        return [replace(d, problem="loses-help" if gone else None) for d, gone in zip(drafts, lost, strict=True)]


def answered(sample: Sample, text: str) -> Sample:
    """``sample`` with a revised answer; what was said of the old one goes: the label, and what it was preferred to."""
    meta = {key: value for key, value in sample.meta.items() if key not in ("unsafe", "rejected")} | {"revised": True}
    return replace(sample.with_response(text), meta=meta)


def counted(screen: Screen) -> Screen:
    """``screen``, which raises IntegrityError when it gives more or fewer verdicts than it was given samples."""

    def checked(samples: Sequence[Sample]) -> list[Verdict]:
        verdicts = screen(samples)
        _check_count(len(verdicts), len(samples), "the screen")
        return verdicts

    return checked


def _where(problem: str | None, drafts: Sequence[Draft], step: Callable[[Sequence[Draft]], list[Draft]]) -> list[Draft]:
    """``step`` applied to the drafts with this ``problem``, the others as they are, order kept."""
    chosen = [draft for draft in drafts if draft.problem == problem]
    done = iter(step(chosen) if chosen else ())
    return [next(done) if draft.problem == problem else draft for draft in drafts]


def _check_count(n: int, wanted: int, who: str) -> None:
    if n != wanted:
        raise IntegrityError(
            f"{who} gave {n} answers to {wanted} questions, so that no answer can be told from its neighbours'; "
            "use one that gives one answer each, in order"
        )


def _failed(answer: Generation) -> str | None:
    return NO_GENERATION if answer.finish == "error" else None


def _screen_problem(original: Sample, candidate: Sample, verdict: Verdict) -> str | None:
    if verdict.sample_id != candidate.id or verdict.action == "error":
        return "unscored"
    if verdict.action != "keep":
        return FLAGGED
    return "refuses-harmless" if refuses_harmless(original, candidate.response, verdict) else None
