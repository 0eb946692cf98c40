"""Benchmarks, judges, metrics and the report: is the model safe, and is it still useful?"""

from __future__ import annotations

from safefed.eval.benchmarks import SUITES, Benchmark, Case, load_suite
from safefed.eval.degenerate import is_degenerate
from safefed.eval.judges import JUDGES, Judge, label_records, load_judge
from safefed.eval.metrics import Scored, score, wilson
from safefed.eval.overlap import require_disjoint
from safefed.eval.report import write_report
from safefed.eval.table import terminal_table

__all__ = [
    "JUDGES",
    "SUITES",
    "Benchmark",
    "Case",
    "Judge",
    "Scored",
    "is_degenerate",
    "label_records",
    "load_judge",
    "load_suite",
    "require_disjoint",
    "score",
    "terminal_table",
    "wilson",
    "write_report",
]
