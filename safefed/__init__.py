"""safefed: the safety layer for federated LLM fine-tuning.

The jobs, each loaded only when it is named: ``preprocess`` client data, ``calibrate`` or ``fit_filter`` for it,
``train`` one arm, ``benchmark`` a model, ``run`` a whole experiment.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safefed.benchmarking import benchmark
    from safefed.calibrating import calibrate
    from safefed.experiment import run, train
    from safefed.fitting import fit_filter
    from safefed.preprocessing import preprocess

__version__ = "0.1.0"
__all__ = ["__version__", "benchmark", "calibrate", "fit_filter", "preprocess", "run", "train"]

_HOMES = {
    "benchmark": "safefed.benchmarking",
    "calibrate": "safefed.calibrating",
    "fit_filter": "safefed.fitting",
    "preprocess": "safefed.preprocessing",
    "run": "safefed.experiment",
    "train": "safefed.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'safefed' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
