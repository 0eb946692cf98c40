"""Critique, revise, screen again: what becomes of samples that a screen has flagged.

The supervised stage of Constitutional AI (Bai et al., arXiv 2212.08073, section 3.1) with four differences: the
principle is picked by the hazard and a seeded hash, so a run repeats; rounds end when the screen passes; every revision
is checked and screened again before it counts; what does not pass is never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safefed.config import ReviseConfig
from safefed.constitution.principles import Constitution
from safefed.constitution.rounds import FLAGGED, NO_GENERATION, Draft, Rounds, Screen, answered, counted
from safefed.constitution.utility import harmless_help
from safefed.errors import IntegrityError
from safefed.generate import Generator, turns
from safefed.records import PreferencePair, Revision, Sample, Verdict

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
            PreferencePair has no place for earlier turns, and only where originals may be kept.
        reason: "revised", or why the last attempt failed: a code of ``safefed.constitution.checks``, "flagged",
            "unscored" (the screen could not tell), "refuses-harmless", "loses-help" (see ``utility``), "no-answer" (the
            sample has none) or "no-generation" (the generator gave none).
    """

    sample: Sample | None
    revision: Revision | None
    pair: PreferencePair | None
    reason: str

    @property
    def errored(self) -> bool:
        """Whether nothing can be said of the sample, since the generator failed."""
        return self.reason == NO_GENERATION


def revise(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    constitution: Constitution,
    generator: Generator,
    screen: Screen,
    config: ReviseConfig,
) -> list[Outcome]:
    """Revise the final answers of flagged samples, all of them together, attempt after attempt, round after round.

    Args:
        samples: Flagged samples; equal ones are revised once. One without an answer goes straight to the fallback.
        verdicts: Their verdicts, in the same order; the category picks the principles.
        constitution: Where the principles come from.
        generator: Writes critiques and revisions.
        screen: Judges each candidate; only the action "keep" passes. It also tells the harmless parts of requests.
        config: Attempts, rounds, seed, length limit, fallback, whether originals may be kept.

    Returns:
        One Outcome per sample, in order.

    Raises:
        IntegrityError: the verdicts are of other samples; the generator or the screen gave too few or too many answers.

    Only the final answer is rewritten: harm in an earlier turn keeps its sample flagged, so that it is dropped. A
    sample that the generator failed gets no fallback: an endpoint that is down must not fill a data set with templates.
    """
    if [sample.id for sample in samples] != [verdict.sample_id for verdict in verdicts]:
        raise IntegrityError("the verdicts are not those of the samples, in their order; screen these samples again")
    drafts = {s.id: Draft(s, v, s.response, FLAGGED) for s, v in zip(samples, verdicts, strict=True) if s.response}
    screen = counted(screen)
    help_words = harmless_help([draft.sample for draft in drafts.values()], screen)
    rounds = Rounds(constitution, generator, screen, config, help_words)
    with turns(generator):  # every question about a row quotes the same request, and often the same answer
        for attempt in range(config.attempts):
            pending = [draft for draft in drafts.values() if draft.problem]
            drafts |= {draft.sample.id: draft for draft in rounds.attempt(pending, attempt)}
    drafts |= {s.id: Draft(s, v, "", "no-answer") for s, v in zip(samples, verdicts, strict=True) if not s.response}
    reasons = {id_: draft.problem or "revised" for id_, draft in drafts.items()}
    if config.fallback == "refuse":
        failed = [draft for draft in drafts.values() if draft.problem not in (None, NO_GENERATION)]
        drafts |= {draft.sample.id: draft for draft in rounds.refuse(failed)}
    return [_outcome(sample, drafts[sample.id], reasons[sample.id], generator.revision, config) for sample in samples]


def _outcome(sample: Sample, draft: Draft, reason: str, model_revision: str, config: ReviseConfig) -> Outcome:
    if draft.problem:
        return Outcome(None, None, None, reason)
    revision = Revision(
        sample_id=sample.id,
        principle=draft.principle.id if draft.principle else FALLBACK,
        critique=draft.critique if config.keep_originals else "",
        revised=draft.text,
        model_revision=model_revision,
        attempts=draft.attempts,
        rounds=draft.rounds,
        seed=config.seed,
        category=draft.verdict.category,
        flagged_for=draft.verdict.reason,
    )
    pair = _pair(sample, draft) if config.keep_originals else None
    return Outcome(answered(sample, draft.text), revision, pair, reason)


def _pair(sample: Sample, draft: Draft) -> PreferencePair | None:
    if draft.principle is None or [message.role for message in sample.context] != ["user"]:
        return None
    return PreferencePair(sample.prompt, draft.text, sample.response)
