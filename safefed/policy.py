"""Which flagged rows are not treated as the others: the rules of ``screen.policy``.

Category before axis before the treatment's default. Only rows that a filter flagged are touched: what it lets through
stays, and what could not be screened (an "error") is never kept, whatever the rules say.
"""

from __future__ import annotations

from dataclasses import replace

from safefed.config import PolicyConfig
from safefed.filters.combine import deciding_axis
from safefed.records import Verdict

_MARK = "policy-"
_KEPT = f"{_MARK}keep: "


def apply_policy(policy: PolicyConfig, verdict: Verdict) -> Verdict:
    """``verdict`` with the action of the rule that fits, named in its reason ("policy-keep: harmful-response").

    As it is when no rule fits, or when the filter did not flag the row.
    """
    if verdict.action != "revise":
        return verdict
    axis = deciding_axis(verdict.scores)
    fate = policy.category.get(verdict.category or "") or (policy.axis.get(axis) if axis else None)
    return replace(verdict, action=fate, reason=f"{_MARK}{fate}: {verdict.reason}") if fate else verdict


def kept_by_policy(verdict: Verdict) -> bool:
    """Whether a flagged row was kept because a rule says so."""
    return verdict.action == "keep" and verdict.reason.startswith(_KEPT)


def flagged(verdict: Verdict) -> bool:
    """Whether a row was found unsafe, whatever became of it."""
    return verdict.action in ("revise", "drop") or kept_by_policy(verdict)
