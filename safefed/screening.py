"""What is to become of each row: one Decision per row, whatever the treatment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from safefed.config import PolicyConfig, ReviseConfig
from safefed.constitution import Constitution, Outcome, Screen
from safefed.constitution import revise as revise_samples
from safefed.errors import ConfigError
from safefed.generate import Generation, Generator
from safefed.policy import apply_policy
from safefed.records import Action, Message, PreferencePair, Revision, Sample, Verdict, canonical_json
from safefed.sources import BadRow
from safefed.store import sha256_bytes

if TYPE_CHECKING:
    from safefed.filters import Filter

Treatment = Literal["keep", "oracle", "drop", "revise"]
Result = Literal["kept", "revised", "dropped", "errored"]

NO_POLICY = PolicyConfig()

RESULT_OF: dict[Action, Result] = {"keep": "kept", "revise": "revised", "drop": "dropped", "error": "errored"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one row.

    Attributes:
        row: As it was read.
        verdict: The final word on it; its ``action`` is what was done.
        sample: What goes into the data set, None if nothing does.
        pair: Revised over original answer, or what a kept row of preference data states.
        raw: The bytes of a row that could not be used, for quarantine.
    """

    row: Sample | BadRow
    verdict: Verdict
    sample: Sample | None = None
    revision: Revision | None = None
    pair: PreferencePair | None = None
    raw: bytes | None = None

    @property
    def result(self) -> Result:
        """The row's outcome as the manifest counts it."""
        return RESULT_OF[self.verdict.action]


@dataclass(frozen=True, slots=True)
class Reviser:
    """What the treatment "revise" needs; ``generator`` is called once, when the first row is flagged."""

    constitution: Constitution
    config: ReviseConfig
    generator: Callable[[], Generator]


def keep_all(samples: Sequence[Sample]) -> list[Verdict]:
    """Verdicts that let everything through unseen."""
    return [Verdict(sample.id, "none", {}, 0.0, reason="not-screened") for sample in samples]


def by_label(samples: Sequence[Sample]) -> list[Verdict]:
    """Verdicts by the rows' own labels: True is dropped, False and unlabelled rows are kept."""
    return [_labelled(sample) for sample in samples]


def _labelled(sample: Sample) -> Verdict:
    if sample.label is None:
        return Verdict(sample.id, "oracle", {}, 0.0, reason="unlabelled")
    reason = "labelled-unsafe" if sample.label else "labelled-safe"
    return Verdict(
        sample.id, "oracle", {}, float(sample.label), action="drop" if sample.label else "keep", reason=reason
    )


def by_filter(judge: Filter) -> Screen:
    """``judge.score`` with equal samples scored once; a verdict that is not its sample's becomes an error."""

    def screen(samples: Sequence[Sample]) -> list[Verdict]:
        unique = {sample.id: sample for sample in samples}
        verdicts = judge.score(list(unique.values()))
        found = {id_: _owned(id_, verdict) for id_, verdict in zip(unique, verdicts, strict=True)}
        return [found[sample.id] for sample in samples]

    return screen


def _owned(sample_id: str, verdict: Verdict) -> Verdict:
    if verdict.sample_id == sample_id:
        return verdict
    return replace(verdict, sample_id=sample_id, action="error", reason="verdict-of-another-row")


def decide(
    rows: Sequence[Sample | BadRow],
    verdicts: Sequence[Verdict],
    screen: Screen,
    revise: Reviser | None,
    policy: PolicyConfig = NO_POLICY,
) -> list[Decision]:
    """One Decision per row, in order. Errors are never kept.

    A row of preference data is screened by its chosen side: kept, it is also the pair that it states; flagged, what it
    states is not believed, and only its own revision makes a pair.

    Args:
        rows: As they were read.
        verdicts: One for each Sample among them.
        screen: What revised rows have to pass; ``policy`` does not excuse them.
        revise: What flagged rows go through; without it they are dropped.
        policy: What becomes of flagged rows of some kinds instead.
    """
    samples = [row for row in rows if isinstance(row, Sample)]
    verdicts = [apply_policy(policy, verdict) for verdict in verdicts]
    pairs = list(zip(samples, verdicts, strict=True))
    flagged = [(sample, verdict) for sample, verdict in pairs if verdict.action == "revise"]
    outcomes = iter(_revised(flagged, screen, revise) if flagged and revise else ())
    decided = iter([_decision(s, v, next(outcomes, None) if v.action == "revise" else None) for s, v in pairs])
    return [next(decided) if isinstance(row, Sample) else _unreadable(row) for row in rows]


def _revised(flagged: Sequence[tuple[Sample, Verdict]], screen: Screen, revise: Reviser) -> list[Outcome]:
    samples, verdicts = [sample for sample, _ in flagged], [verdict for _, verdict in flagged]
    generator = revise.generator() if revise.config.attempts else _Nobody()
    return revise_samples(samples, verdicts, revise.constitution, generator, screen, revise.config)


class _Nobody:
    """Stands for the model where none is asked, since there are only refusal templates."""

    revision = ""

    def generate(self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int) -> list[Generation]:
        raise ConfigError(f"revise.attempts is 0, yet {len(conversations)} questions of {max_new_tokens} tokens came")


def _decision(sample: Sample, verdict: Verdict, outcome: Outcome | None) -> Decision:
    if verdict.action == "keep":
        return Decision(sample, verdict, sample.unpaired(), pair=sample.pair)
    if outcome is not None and outcome.errored:
        verdict = replace(verdict, action="error", reason=_because(verdict, outcome))
    if verdict.action == "error":
        return Decision(sample, verdict, raw=canonical_json(sample.to_json()).encode())
    if outcome is None or outcome.sample is None or outcome.revision is None:
        return Decision(sample, _dropped(verdict, _because(verdict, outcome)))
    verdict = replace(verdict, reason=f"{_because(verdict, outcome)}, {outcome.revision.principle}")
    return Decision(sample, verdict, outcome.sample, outcome.revision, outcome.pair)


def _dropped(verdict: Verdict, reason: str) -> Verdict:
    """As ``replace`` would, which takes three times as long; without a reviser every flagged row comes here."""
    return Verdict(
        verdict.sample_id,
        verdict.filter,
        verdict.scores,
        verdict.unsafe,
        verdict.category,
        "drop",
        reason,
        verdict.filter_revision,
    )


def _because(verdict: Verdict, outcome: Outcome | None) -> str:
    return "; ".join(filter(None, [verdict.reason, outcome.reason if outcome else ""]))


def _unreadable(row: BadRow) -> Decision:
    verdict = Verdict(sha256_bytes(row.raw), "source", {}, 1.0, action="error", reason=row.reason)
    return Decision(row, verdict, raw=row.raw)
