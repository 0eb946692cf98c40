"""One TOML file = one experiment. Unknown keys, wrong types, NaN and values out of range are errors.

Paths in a configuration are relative to its file; ``$NAME`` in a path is replaced from the environment. ``model.name``
and ``revise.constitution``, which may also be names, count as paths when they begin with ``./ ../ / ~`` or ``$``; so
does what follows the colon in ``screen.filter``.
"""

from __future__ import annotations

from safefed.config.data import BucketConfig, ClientConfig, ClientName, DataConfig, JoinConfig, Objective, SourceConfig
from safefed.config.experiment import DEFAULT_ARMS, ArmConfig, ExperimentConfig, NodeConfig
from safefed.config.loading import load_experiment, load_node
from safefed.config.screening import GeneratorConfig, PolicyConfig, ReviseConfig, ScreenConfig, Screening
from safefed.config.sections import AnySection, Count, Positive, Section, Seed, Share, parse
from safefed.config.training import AlignConfig, BenchmarkConfig, LoraSettings, ModelConfig, TrainConfig

__all__ = [
    "DEFAULT_ARMS",
    "AlignConfig",
    "AnySection",
    "ArmConfig",
    "BenchmarkConfig",
    "BucketConfig",
    "ClientConfig",
    "ClientName",
    "Count",
    "DataConfig",
    "ExperimentConfig",
    "GeneratorConfig",
    "JoinConfig",
    "LoraSettings",
    "ModelConfig",
    "NodeConfig",
    "Objective",
    "PolicyConfig",
    "Positive",
    "ReviseConfig",
    "ScreenConfig",
    "Screening",
    "Section",
    "Seed",
    "Share",
    "SourceConfig",
    "TrainConfig",
    "load_experiment",
    "load_node",
    "parse",
]
