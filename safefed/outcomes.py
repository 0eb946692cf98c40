"""What a screened chunk of rows puts on disk: its lines by file, and its counts."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from safefed.constitution import FALLBACK
from safefed.dataset import DATA, PAIRS, QUARANTINE, REVISIONS, VERDICTS, json_lines
from safefed.filters.drift import count_name
from safefed.policy import kept_by_policy
from safefed.records import Record, Sample
from safefed.screening import Decision, Result
from safefed.sources import BadRow

RESULTS: tuple[Result, ...] = get_args(Result)
LABELS = {True: "unsafe", False: "safe", None: "unlabelled"}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The lines that a chunk adds to each file of a data set, and what it adds to each count."""

    files: Mapping[str, bytes]
    counts: Counter[str]


def outcomes(decisions: Sequence[Decision], start: int, *, keep_originals: bool = True) -> Outcomes:
    """What ``decisions``, the first of which is on row number ``start``, put on disk.

    Without ``keep_originals`` quarantined rows are named and not quoted, and there are no pairs.
    """
    if not keep_originals:
        decisions = [replace(decision, pair=None) for decision in decisions]
    waiting = [(number, each) for number, each in enumerate(decisions, start) if each.raw is not None]
    files: dict[str, Sequence[Record | Mapping[str, Any]]] = {
        DATA: [decision.sample for decision in decisions if decision.sample],
        VERDICTS: [decision.verdict for decision in decisions],
        REVISIONS: [decision.revision for decision in decisions if decision.revision],
        PAIRS: [decision.pair for decision in decisions if decision.pair],
        QUARANTINE: [_quarantined(each, number, keep_originals) for number, each in waiting],
    }
    return Outcomes({name: json_lines(rows) for name, rows in files.items()}, _counts(decisions))


def _quarantined(decision: Decision, number: int, keep_originals: bool) -> dict[str, Any]:
    where = decision.row.where if isinstance(decision.row, BadRow) else f"row {number}"
    named = {"where": where, "reason": decision.verdict.reason}
    return named | {"raw": base64.b64encode(decision.raw or b"").decode()} if keep_originals else named


def _counts(decisions: Sequence[Decision]) -> Counter[str]:
    counts = Counter(n_in=len(decisions))
    for decision in decisions:
        result = decision.result
        counts[result] += 1
        counts["pairs"] += decision.pair is not None
        counts["policy_kept"] += kept_by_policy(decision.verdict)
        counts["fallbacks"] += decision.revision is not None and decision.revision.principle == FALLBACK
        if isinstance(decision.row, Sample):
            counts[f"label {LABELS[decision.row.label]} {result}"] += 1
        if result == "errored":
            counts[f"error {decision.verdict.reason}"] += 1
        if name := count_name(decision.verdict.scores):
            counts[name] += 1
    return counts
