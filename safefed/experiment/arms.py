"""What an experiment comes to: its arms, the stages each needs, and which stages they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safefed import __version__
from safefed.align import AlignSettings
from safefed.config import ArmConfig, ExperimentConfig
from safefed.errors import ConfigError
from safefed.experiment.inputs import Inputs
from safefed.experiment.schedule import Task
from safefed.experiment.stages import align_arm, evaluate_arm, screen_client, train_arm
from safefed.federation.plan import Plan
from safefed.records import content_hash
from safefed.sources import source_hashes

SHORT = 12
KINDS = ("screen", "train", "align", "benchmark")
"""The kinds of stages, in the order of an arm."""


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm with one seed: the folders its stages live in, each named by the hash of what decides it."""

    name: str
    arm: ArmConfig
    seed: int
    plan: Plan | None
    align: Path | None
    evaluation: Path

    @property
    def title(self) -> str:
        """The arm and its seed, for people."""
        return f"{self.name}, seed {self.seed}"

    def screened_by(self, config: ExperimentConfig) -> tuple[str, ...]:
        """The filters that chose this arm's data or verified its alignment: no independent judges of the result."""
        chose = self.arm.align or self.arm.screening in ("drop", "refuse", "revise")
        return (config.screen.filter,) if chose else ()

    @property
    def alignments(self) -> list[Path]:
        """The folders of this arm's alignments that are there: one after the last round, or one per k rounds."""
        if self.align or self.plan is None:
            return [self.align] if self.align else []
        return sorted((Path(self.plan.out) / "align").glob("round_*"))

    @property
    def adapter(self) -> Path | None:
        """The arm's final adapter; None for the base model."""
        if self.plan is None:
            return None
        return (self.align or Path(self.plan.out)) / "adapter"


def _align_settings(config: ExperimentConfig) -> AlignSettings:
    """How an arm is aligned. Raises ConfigError, before anything is trained, if it cannot be."""
    length = config.train.max_length
    settings = AlignSettings(align=config.align, screen=config.screen, revise=config.revise, max_length=length)
    settings.require_possible()
    if config.align.every and config.align.every > config.train.rounds:
        raise ConfigError(
            f"align.every = {config.align.every}, and train.rounds = {config.train.rounds}: no round would be aligned; "
            "lower align.every, or leave it out to align after the last round"
        )
    return settings


def _aligned_on(config: ExperimentConfig, inputs: Inputs) -> str:
    """What decides an alignment beside its settings: the filter, the constitution, the files of its prompts."""
    sources = [*config.align.prompts, *config.align.helpful]
    return inputs.revised(content_hash([source_hashes(source) for source in sources]))


def training_plan(config: ExperimentConfig, name: str, arm: ArmConfig, seed: int, out: Path, inputs: Inputs) -> Plan:
    """The federated run of an arm that trains."""
    between = arm.align and config.align.every is not None
    data = inputs.data
    if data and arm.screening in ("refuse", "revise"):
        data = inputs.revised(data)
    elif data and arm.screening == "drop":
        data = inputs.screened(data)
    if between:
        data = content_hash([data, _aligned_on(config, inputs)])
    plan = Plan(
        name=config.name,
        arm=name,
        seed=seed,
        clients=len(config.data.client) or config.data.clients,
        model=config.model,
        train=config.train,
        screening=arm.screening,
        screen=config.screen,
        threads=config.threads,
        align=_align_settings(config) if between else None,
        data=data,
        out="",
        resume=True,
    )
    return plan.model_copy(update={"out": str(out / "stages" / f"train-{plan.run_key[:SHORT]}")})


def _dump(*sections: Any) -> list[Any]:
    return [section.model_dump(mode="json") for section in sections]


def plan_arm(config: ExperimentConfig, name: str, arm: ArmConfig, seed: int, out: Path, inputs: Inputs) -> ArmPlan:
    """Where an arm's stages live. Arms that share a prefix of stages share the folders, and so the work."""
    stages = out / "stages"
    plan = training_plan(config, name, arm, seed, out, inputs) if arm.train else None
    key: list[Any] = [__version__, plan.run_key if plan else _dump(config.model)]
    align = None
    if arm.align and not config.align.every:
        key += [_align_settings(config).decisive(), _aligned_on(config, inputs)]
        align = stages / f"align-{content_hash(key)[:SHORT]}"
    key += [*_dump(config.benchmark), seed, inputs.judges]
    evaluation = stages / f"benchmark-{content_hash(key)[:SHORT]}"
    return ArmPlan(name, arm, seed, plan, align, evaluation)


def _screen_tasks(plan: Plan, files: Sequence[Path]) -> list[Task]:
    labels = [f"screen {f.parent.name} ({plan.screening})" for f in files]
    return [Task(label, "screen", label, screen_client, (f, plan)) for f, label in zip(files, labels, strict=True)]


def arm_tasks(arm: ArmPlan, config: ExperimentConfig, files: Sequence[Path]) -> list[Task]:
    """The stages of one arm, each after those it needs; stages that arms share have one name."""
    screens = _screen_tasks(arm.plan, files) if arm.plan else []
    stages: list[Task] = []

    def then(folder: Path, kind: str, run: Callable[..., Any], *args: Any) -> None:
        needs = [task.name for task in stages[-1:] or screens]
        stages.append(Task(folder.name, kind, f"{kind} {arm.title}", run, args, needs, reports=True))

    if arm.plan:
        trained = Path(arm.plan.out)
        then(trained, "train", train_arm, config.engine, arm.plan, files)
        if arm.align:
            settings = _align_settings(config)
            then(arm.align, "align", align_arm, config.model, settings, trained / "adapter", arm.align, arm.seed)
    chosen_by = arm.screened_by(config)
    then(arm.evaluation, "benchmark", evaluate_arm, config, arm.adapter, arm.evaluation, arm.seed, chosen_by)
    return [*screens, *stages]


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """Every stage once, in the order in which they should be started: what others wait for comes first."""
    distinct: dict[str, Task] = {}
    for task in tasks:
        distinct.setdefault(task.name, task)
    return sorted(distinct.values(), key=lambda task: KINDS.index(task.kind))
