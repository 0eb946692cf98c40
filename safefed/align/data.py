"""What the server trains on: the global model's own answers, made safe where they are not, helpful where they can be.

The supervised stage of Constitutional AI (arXiv 2212.08073) applied to the aggregated model as in arXiv 2502.16691, and
contrast against over-refusal: the model learns from both kinds of its mistakes, compliance and needless refusal. Where
the base model makes neither, it is the teacher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from safefed.adapter import Adapter, with_adapter
from safefed.align.answers import Begun, Helped, Judged, begun, helped, helps, judged, safely_declines
from safefed.config import AlignConfig, ReviseConfig
from safefed.constitution import Constitution, revise
from safefed.errors import ConfigError, DataError
from safefed.generate import Generator, LocalGenerator
from safefed.models import LoadedModel
from safefed.records import PreferencePair, Sample

if TYPE_CHECKING:
    from safefed.filters import Filter


TEACHER = "base"
"""``meta["teacher"]`` of rows that the base model said: its distribution is learnt at their places."""


@dataclass(frozen=True, slots=True)
class AlignmentData:
    """What the server trains on, and how it came about.

    Attributes:
        rows: Safe answers to red-team prompts, helpful answers to harmless ones: those of ``TEACHER``, marked so in
            ``meta``, for distillation, the others for supervised fine-tuning.
        pairs: For preference training: safe over unsafe answers, help over needless refusals.
        counts: By outcome.
        critic: The revision of the generator that critiqued and revised; "" if nothing was.
        constitution: As its ``about`` says.
    """

    rows: list[Sample]
    pairs: list[PreferencePair]
    counts: dict[str, int]
    critic: str = ""
    constitution: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Means:
    """What an alignment works with.

    Attributes:
        screen: Tells safe from unsafe and, on its axis "refusal", who declines.
        constitution: What answers are held against.
        revise: Attempts and limits of the constitutional stage.
        config: Shares, and who is the critic.
        endpoint: Makes the generator for the critic "endpoint".
        remember: Wraps each generator, given with a name, so that a resumed alignment asks nothing twice.
    """

    screen: Filter
    constitution: Constitution
    revise: ReviseConfig
    config: AlignConfig
    endpoint: Callable[[], Generator] | None = None
    remember: Callable[[Generator, str], Generator] = lambda generator, _name: generator


def alignment_data(
    loaded: LoadedModel, adapter: Adapter, red_team: Sequence[Sample], harmless: Sequence[Sample], means: Means
) -> AlignmentData:
    """Ask, screen, critique, revise: what one alignment learns from; only what its stages need.

    Args:
        loaded: The base model.
        adapter: The global adapter.
        red_team: Prompts that should be declined.
        harmless: Prompts that should be answered; best among them are look-alikes of harmful ones. Their own answers,
            if they have some, are used where the models decline.
        means: What it works with.

    Raises:
        DataError: no safe answer was found at all, or the base model, asked to teach, declines nothing.
        ConfigError: the critic is an endpoint, and none is configured.
    """
    config, nothing = means.config, AlignmentData([], [], {})
    with with_adapter(loaded, adapter) as live:
        models = _Models(live, means)
        help_ = models.judged("base", harmless)
        taught = _taught(models.judged("base", red_team), help_) if config.distil_steps else nothing
        learnt = _mistakes(models, red_team, harmless, help_) if config.sft_steps or config.dpo_steps else nothing
    counts = {"red_team": len(red_team), "harmless": len(harmless), **taught.counts, **learnt.counts}
    rows = [*taught.rows, *learnt.rows]
    return AlignmentData(rows, learnt.pairs, counts, learnt.critic, means.constitution.about())


class _Models:
    """The base model, the global model, and the global model with its answer begun for it, each remembering."""

    def __init__(self, live: LoadedModel, means: Means) -> None:
        size = means.revise.batch_size
        own, base = LocalGenerator(live, batch_size=size), LocalGenerator(live, batch_size=size, base_only=True)
        self.named = {"self": means.remember(own, "self"), "base": means.remember(base, "base")}
        self.begun = means.remember(Begun(own, means.config.prefill), "begun")
        self.means = means

    def judged(self, name: Literal["self", "base"], prompts: Sequence[Sample]) -> list[Judged]:
        """What one of them says."""
        return judged(self.named[name], prompts, self.means.screen, self.means.revise)

    def critic(self) -> Generator:
        """Raises ConfigError where it is to be an endpoint, and there is none."""
        name, endpoint = self.means.config.critic, self.means.endpoint
        if name != "endpoint":
            return self.named[name]
        if endpoint is None:
            raise ConfigError('align.critic is "endpoint", and no endpoint is configured; set revise.generator')
        return self.means.remember(endpoint(), "endpoint")


def _taught(red_team: Sequence[Judged], harmless: Sequence[Judged]) -> AlignmentData:
    """What the base model says where it is right: refusals of red-team prompts, help with harmless ones.

    Raises:
        DataError: it declines no red-team prompt.
    """
    refusals = [answer for answer, verdict in red_team if safely_declines(answer, verdict)]
    if not refusals:
        raise DataError(
            f"the base model declines none of {len(red_team)} red-team prompts, so nothing is to be learnt from it; "
            "set align.distil_steps = 0 and align.dpo_steps, or use an aligned base model"
        )
    help_ = [answer for answer, verdict in harmless if helps(answer, verdict)]
    rows = [replace(answer, meta={**answer.meta, "teacher": TEACHER}) for answer in (*refusals, *help_)]
    return AlignmentData(rows, [], {"base_declined": len(refusals), "base_helped": len(help_)})


def _mistakes(
    models: _Models, red_team: Sequence[Sample], harmless: Sequence[Sample], help_: Sequence[Judged]
) -> AlignmentData:
    """The global model's answers, safe and helpful or made so, and what it should prefer to its mistakes."""
    means, critic = models.means, models.critic()
    safe = _safe_rows(models.judged("self", red_team), critic, means)
    if not safe.rows:
        raise DataError(f"none of {len(red_team)} red-team answers could be made safe; use a stronger base model")
    anchors = _anchors(models.begun, safe.rows, means)
    found = helped(harmless, help_, models.judged("self", harmless))
    rows, contrast = _helpful_rows(found, safe.rows, means.config), list(_contrast(found, means))
    counts = {**safe.counts, "helpful": len(rows), "needlessly_refused": sum(bool(each.refusal) for each in found)}
    counts |= {"pairs_revised": len(safe.pairs), "pairs_refusal": len(anchors), "pairs_help": len(contrast)}
    return AlignmentData([*safe.rows, *rows], [*safe.pairs, *anchors, *contrast], counts, critic.revision)


def _safe_rows(answers: Sequence[Judged], critic: Generator, means: Means) -> AlignmentData:
    """Answers that already decline stay; every other answer to a red-team prompt is critiqued and revised."""
    fine = [safely_declines(answer, verdict) for answer, verdict in answers]
    kept = [answer for (answer, _), good in zip(answers, fine, strict=True) if good]
    doubtful = [pair for pair, good in zip(answers, fine, strict=True) if not good]
    samples, verdicts = [sample for sample, _ in doubtful], [verdict for _, verdict in doubtful]
    outcomes = revise(samples, verdicts, means.constitution, critic, means.screen.score, means.revise)
    revised = [outcome.sample for outcome in outcomes if outcome.sample]
    reasons = Counter(f"revision_{outcome.reason}" for outcome in outcomes)
    counts = {"already_refused": len(kept), "revised": len(revised), **reasons}
    return AlignmentData([*kept, *revised], [outcome.pair for outcome in outcomes if outcome.pair], counts)


def _anchors(complying: Generator, safe: Sequence[Sample], means: Means) -> list[PreferencePair]:
    """Refusals over begun compliance; none where nothing is trained on them or no unsafe answer may be kept."""
    if not means.config.dpo_steps or not means.revise.keep_originals:
        return []
    n = means.config.n_anchors
    refusals = [row for row in safe if not row.meta.get("revised")][: 2 * n]  # some are declined again
    return begun(complying, refusals, means.screen, means.revise)[:n]


def _helpful_rows(found: Sequence[Helped], safe: Sequence[Sample], config: AlignConfig) -> list[Sample]:
    """As many helpful rows as make up ``helpful_share`` of all, as far as there are."""
    wanted = round(len(safe) * config.helpful_share / (1.0 - config.helpful_share))
    return [each.answer for each in found if each.answer][:wanted]


def _contrast(found: Sequence[Helped], means: Means) -> Iterator[PreferencePair]:
    """Help over every needless refusal, and over one of the constitution's for ``n_anchors`` of the other prompts."""
    anchors = means.config.n_anchors
    for each in found:
        if each.answer is None or not (each.refusal or anchors):
            continue
        anchors -= not each.refusal
        refusal = each.refusal or means.constitution.refusal_for(each.answer.id)
        yield PreferencePair(each.answer.prompt, each.answer.response, refusal)
