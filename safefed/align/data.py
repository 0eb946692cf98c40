"""What the server trains on: the global model's own answers, made safe where they are not, helpful where they can be.

The supervised stage of Constitutional AI (arXiv 2212.08073) applied to the aggregated model as in arXiv 2502.16691, and
contrast against over-refusal: the same model is taught to answer harmless prompts that it, or its base, declined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safefed.adapter import Adapter, with_adapter
from safefed.config import AlignConfig, ReviseConfig
from safefed.constitution import Constitution, revise
from safefed.constitution.checks import is_looping
from safefed.errors import DataError
from safefed.generate import Generator, LocalGenerator
from safefed.models import LoadedModel
from safefed.records import PreferencePair, Sample, Verdict

if TYPE_CHECKING:
    from safefed.filters import Filter

REFUSED = 0.5
"""The probability of the screen's "refusal" axis from which an answer counts as a refusal."""


@dataclass(frozen=True, slots=True)
class AlignmentData:
    """What the server trains on, and how it came about.

    Attributes:
        rows: For supervised fine-tuning: safe answers to red-team prompts, helpful answers to harmless ones.
        pairs: For preference training: a revision over the answer it replaced, help over a needless refusal.
        counts: By outcome.
        critic: The revision of the generator that critiqued and revised.
        constitution: As its ``about`` says.
    """

    rows: list[Sample]
    pairs: list[PreferencePair]
    counts: dict[str, int]
    critic: str = ""
    constitution: Mapping[str, str] = field(default_factory=dict)


def alignment_data(
    loaded: LoadedModel,
    adapter: Adapter,
    red_team: Sequence[Sample],
    harmless: Sequence[Sample],
    *,
    screen: Filter,
    constitution: Constitution,
    revise_config: ReviseConfig,
    config: AlignConfig,
    endpoint: Generator | None = None,
) -> AlignmentData:
    """Ask, screen, critique, revise: the rows and pairs of one alignment.

    Args:
        loaded: The base model.
        adapter: The global adapter.
        red_team: Prompts that should be declined.
        harmless: Prompts that should be answered; best among them are look-alikes of harmful ones.
        screen: Tells safe from unsafe and, on its axis "refusal", who declines.
        constitution: What answers are held against.
        revise_config: Attempts and limits of the constitutional stage.
        config: Shares, and who is the critic.
        endpoint: The generator for the critic "endpoint".

    Raises:
        DataError: no safe answer was found at all.
    """
    with with_adapter(loaded, adapter) as live:
        own = LocalGenerator(live, batch_size=revise_config.batch_size)
        base = LocalGenerator(live, batch_size=revise_config.batch_size, base_only=True)
        critic = {"self": own, "base": base}.get(config.critic, endpoint)
        if critic is None:
            raise DataError('align.critic is "endpoint", and no endpoint is configured; set revise.generator')
        safe = _safe_rows(_answers(own, red_team, revise_config), critic, screen, constitution, revise_config)
        if not safe.rows:
            raise DataError(f"none of {len(red_team)} red-team answers could be made safe; use a stronger base model")
        helped = [_Helped.of(*both) for both in _both(own, base, harmless, screen, revise_config)]
    rows, pairs = _helpful_rows(helped, safe.rows, config), _contrast(helped, constitution, config)
    counts = {**safe.counts, "harmless": len(harmless), "helpful": len(rows)}
    counts |= {"needlessly_refused": sum(bool(h.refusal) for h in helped), "contrast_pairs": len(pairs)}
    return AlignmentData([*safe.rows, *rows], [*safe.pairs, *pairs], counts, critic.revision, constitution.about())


def _answers(generator: Generator, prompts: Sequence[Sample], config: ReviseConfig) -> list[Sample]:
    texts = generator.generate([prompt.context for prompt in prompts], max_new_tokens=config.max_new_tokens)
    return [prompt.with_response(text.text) for prompt, text in zip(prompts, texts, strict=True)]


def _refuses(verdict: Verdict) -> bool:
    return verdict.scores.get("refusal", 0.0) >= REFUSED


def _safe_rows(
    answers: Sequence[Sample], critic: Generator, screen: Filter, constitution: Constitution, config: ReviseConfig
) -> AlignmentData:
    """Answers that already decline stay; every other answer to a red-team prompt is critiqued and revised."""
    answered = [answer for answer in answers if answer.response]
    judged = list(zip(answered, screen.score(answered), strict=True))
    kept = [answer for answer, verdict in judged if verdict.action == "keep" and _refuses(verdict)]
    doubtful = [(a, v) for a, v in judged if v.action != "keep" or not _refuses(v)]
    outcomes = revise([a for a, _ in doubtful], [v for _, v in doubtful], constitution, critic, screen.score, config)
    revised = [outcome.sample for outcome in outcomes if outcome.sample]
    reasons = Counter(f"revision_{outcome.reason}" for outcome in outcomes)
    counts = {"red_team": len(answers), "already_refused": len(kept), "revised": len(revised), **reasons}
    return AlignmentData([*kept, *revised], [outcome.pair for outcome in outcomes if outcome.pair], counts)


@dataclass(frozen=True, slots=True)
class _Helped:
    """A harmless prompt: a helpful answer to it, and an answer that declined it; either may be missing."""

    answer: Sample | None
    refusal: str

    @classmethod
    def of(cls, *candidates: tuple[Sample, Verdict]) -> _Helped:
        """From candidates, the most trusted first."""
        helpful = [sample for sample, verdict in candidates if _helps(sample, verdict)]
        refusals = [sample.response for sample, verdict in candidates if sample.response and _refuses(verdict)]
        return cls(next(iter(helpful), None), next(iter(refusals), ""))


def _helps(sample: Sample, verdict: Verdict) -> bool:
    said = bool(sample.response) and not is_looping(sample.response)
    return said and verdict.action == "keep" and not _refuses(verdict)


def _both(
    own: Generator, base: Generator, prompts: Sequence[Sample], screen: Filter, config: ReviseConfig
) -> list[tuple[tuple[Sample, Verdict], tuple[Sample, Verdict]]]:
    """The base model's and the global model's answer to every prompt, each with its verdict."""
    answers = [_answers(generator, prompts, config) for generator in (base, own)]
    judged = [list(zip(found, screen.score(found), strict=True)) for found in answers]
    return list(zip(*judged, strict=True))


def _helpful_rows(helped: Sequence[_Helped], safe: Sequence[Sample], config: AlignConfig) -> list[Sample]:
    """As many helpful rows as make up ``helpful_share`` of all, as far as there are."""
    wanted = round(len(safe) * config.helpful_share / max(1e-9, 1.0 - config.helpful_share))
    return [each.answer for each in helped if each.answer][:wanted]


def _contrast(helped: Sequence[_Helped], constitution: Constitution, config: AlignConfig) -> list[PreferencePair]:
    """Help over refusal, at most ``n_contrast`` pairs; first those with a refusal that a model gave."""
    found = sorted((each for each in helped if each.answer), key=lambda each: not each.refusal)
    return [
        PreferencePair(h.answer.prompt, h.answer.response, h.refusal or constitution.refusal_for(h.answer.id))
        for h in found[: config.n_contrast]
        if h.answer
    ]
