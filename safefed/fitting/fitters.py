"""The kinds of filters that can be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from safefed.errors import ConfigError
from safefed.filters import Filter
from safefed.filters.registry import make_filter
from safefed.fitting.settings import DEFAULTS, FitTraining, make_plan
from safefed.progress import Progress
from safefed.records import Sample

HEADS = ("embedding", "linear")


class Fitter(Protocol):
    """Something that can be fitted once."""

    @property
    def judge(self) -> Filter | None:
        """The filter as it is before; None if there is none."""
        ...

    def fit(self, samples: Sequence[Sample], folder: Path, progress: Progress) -> dict[str, Any]:
        """Write the fitted filter into ``folder``; returns what decided the result. ``judge`` is used up."""
        ...


class HeadsFitter:
    """Logistic heads over fixed features: refitted in seconds, starting from the package's own.

    Args:
        name: "linear", "embedding", or "embedding:ENCODER"; heads for another encoder than the package's start from
            nothing, so that there is no filter before.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.judge: Filter | None = None
        try:
            self.judge = make_filter(name)
        except ConfigError:
            if ":" not in name:
                raise

    def fit(self, samples: Sequence[Sample], folder: Path, progress: Progress) -> dict[str, Any]:
        """See ``Fitter``."""
        from safefed.filters.fit_domain import fit_domain

        with progress.task(f"fit {self._name}", len(samples)) as advance:
            fit_domain(self._name, samples, folder)
            advance(len(samples))
        return {"n_rows": len(samples)}


def check_kind(name: str, training: FitTraining) -> str:
    """The kind of the filter ``name``.

    Raises:
        ConfigError: it cannot be fitted, or not with these settings.
    """
    kind = name.partition(":")[0]
    if kind not in (*HEADS, *DEFAULTS):
        raise ConfigError(
            f"filter {name!r} cannot be fitted; choose linear, embedding, classifier:PATH or guard:PATH, or calibrate "
            "it: safefed calibrate"
        )
    if kind == "linear" and name != kind:
        raise ConfigError(f"{name!r} cannot be fitted again; give linear, which is where every fit starts from")
    if kind in HEADS and (given := sorted(training.model_dump(exclude_none=True))):
        raise ConfigError(f"{kind} is refitted as a whole, not step by step; leave out {', '.join(given)}")
    return kind


def make_fitter(name: str, samples: Sequence[Sample], training: FitTraining, seed: int, scratch: Path) -> Fitter:
    """The fitter of the filter ``name``, which is loaded.

    Args:
        name: As in the configuration.
        samples: What it will be fitted on: decides the axes of a model that has none yet.
        training: For the kinds that are trained step by step.
        seed: Of everything.
        scratch: An empty folder that outlives the fitter.

    Raises:
        ConfigError: it cannot be fitted.
        DataError: its model cannot be read.
    """
    kind, _, argument = name.partition(":")
    if kind in HEADS:
        return HeadsFitter(name)
    if kind == "guard":
        from safefed.fitting.guard import GuardFitter

        return GuardFitter(argument, make_plan(kind, training, seed))
    from safefed.fitting.classifier import ClassifierFitter

    return ClassifierFitter(argument, samples, make_plan(kind, training, seed), scratch)
