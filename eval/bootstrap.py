"""Differences between models on the same cases, with the uncertainty of drawing these cases and these seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Outcomes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % percentile interval."""

    value: float
    low: float
    high: float


def paired_bootstrap(
    differences: Outcomes | Sequence[Sequence[float]], *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of paired differences, cases and seeds drawn again together.

    Seeds of a training run share their cases, so both are resampled as a grid (the pigeonhole bootstrap, Owen 2007):
    it is wide enough where cases or seeds alone would be too narrow. With one seed only cases are uncertain.

    Args:
        differences: (seeds, cases); for two models the outcome of the first minus that of the second on the same
            case with the same seed, for one model its outcomes.
        resamples: Bootstrap samples.
        seed: Of the resampling; equal arguments give equal intervals.

    Raises:
        ValueError: ``differences`` is empty or not finite.
    """
    import numpy as np

    grid = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    if grid.ndim != 2 or not grid.size or not np.isfinite(grid).all():
        raise ValueError(f"differences must be finite numbers in (seeds, cases), not shape {grid.shape}")
    rng = np.random.default_rng(seed)
    by_seed, by_case = (rng.multinomial(n, np.full(n, 1 / n), resamples) / n for n in grid.shape)
    low, high = np.quantile(((by_seed @ grid) * by_case).sum(axis=1), [0.025, 0.975])
    return Interval(float(grid.mean()), float(low), float(high))
