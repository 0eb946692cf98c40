"""The report on one client's screened data: what came in, what became of it, and why."""

from __future__ import annotations

from safefed.data_report.report import REPORT, write_data_report
from safefed.data_report.words import drifted

__all__ = ["REPORT", "drifted", "write_data_report"]
