"""A whole experiment with its arms, and a client's own configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from safefed.config.data import ClientName, DataConfig, Objective, SourceConfig
from safefed.config.screening import PolicyConfig, ReviseConfig, ScreenConfig, Screening
from safefed.config.sections import Count, Positive, Section, Seed, laid_over, parse
from safefed.config.training import AlignConfig, BenchmarkConfig, ModelConfig, TrainConfig

ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,60}$")]


class ArmConfig(Section):
    """One arm: whether it trains at all, how client rows are screened, and whether the server aligns.

    ``settings`` are its own values in the experiment's sections ``train`` and ``align``, e.g.
    ``settings = { align = { dpo_steps = 0 } }``.
    """

    train: bool = True
    screening: Screening = "none"
    align: bool = False
    settings: dict[Literal["train", "align"], dict[str, Any]] = {}

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if not self.train and (self.align or self.screening != "none"):
            raise ValueError("an arm that does not train can neither screen nor align; set train = true")
        if "align" in self.settings and not self.align:
            raise ValueError("settings.align is for an arm that aligns; set align = true, or take it out")
        if self.settings and not self.train:
            raise ValueError("an arm that does not train has no use for settings; set train = true")
        return self


DEFAULT_ARMS: dict[str, ArmConfig] = {
    "base": ArmConfig(train=False),
    "fedavg": ArmConfig(),
    "fedavg+oracle": ArmConfig(screening="oracle"),
    "fedavg+filter": ArmConfig(screening="drop"),
    "fedavg+cai": ArmConfig(align=True),
    "fedavg+filter+cai": ArmConfig(screening="revise", align=True),
}


class ExperimentConfig(Section):
    """Everything that decides an experiment's result."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")] = "default"
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    engine: Annotated[str, Field(pattern=r"^(inline|flower:[A-Za-z0-9_.-]+)$")] = "inline"
    threads: Count = 1
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    screen: ScreenConfig = ScreenConfig()
    revise: ReviseConfig = ReviseConfig()
    train: TrainConfig = TrainConfig()
    align: AlignConfig = AlignConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    arms: Annotated[dict[ArmName, ArmConfig], Field(min_length=1)] = DEFAULT_ARMS

    @model_validator(mode="after")
    def _arms_have_folders_of_their_own(self) -> Self:
        if taken := sorted({"stages", "work"} & self.arms.keys()):
            raise ValueError(f"no arm can be called {taken[0]!r}: the run folder has a folder of that name")
        return self

    @model_validator(mode="after")
    def _arms_settings_are_known(self) -> Self:
        for name in self.arms:
            self.for_arm(name)
        return self

    def for_arm(self, name: str) -> Self:
        """The experiment with the settings of one of its arms. Raises ConfigError if they are no settings."""
        own = self.arms[name].settings
        sections: dict[str, Section] = {"train": self.train, "align": self.align}
        trees = {key: laid_over(sections[key].model_dump(), values) for key, values in own.items()}
        where = f"arm {name!r}"
        return self.model_copy(update={key: parse(type(sections[key]), tree, where) for key, tree in trees.items()})

    @model_validator(mode="after")
    def _policy_can_be_kept(self) -> Self:
        for name, arm in self.arms.items():
            _check_policy(self.screen.policy, arm.screening, f"arm {name!r}")
        return self


def _check_policy(policy: PolicyConfig, screening: Screening, who: str) -> None:
    if screening == "drop" and policy.revises:
        raise ValueError(f"screen.policy revises, but {who} has screening = drop; take the rule out or write revise")


class NodeConfig(Section):
    """A client's own ``client.toml``; nothing in it comes from the server.

    ``data`` is what the node owns; it is screened on the node before anything trains on it. ``screening`` is a floor,
    ``screen.threshold`` a ceiling: the server may ask for a stricter screen, never for a weaker one. ``screen.policy``
    is the node's alone.

    ``objective`` says what the node trains for: "sft" on its rows, or "dpo" on its preference pairs, with its own
    ``beta`` if it names one. The server can change neither.
    """

    name: ClientName
    work: str
    model: ModelConfig = ModelConfig()
    data: list[SourceConfig] = []
    screening: Screening = "revise"
    screen: ScreenConfig = ScreenConfig()
    revise: ReviseConfig = ReviseConfig()
    objective: Objective = "sft"
    beta: Positive | None = None
    max_steps: Count = 10_000
    threads: Count = 1

    @model_validator(mode="after")
    def _policy_can_be_kept(self) -> Self:
        _check_policy(self.screen.policy, self.screening, "this node")
        return self
