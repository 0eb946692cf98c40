"""The Filter protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from safefed.records import Sample, Verdict

AXES = ("prompt", "response", "refusal")
"""The scores a filter may fill: the request is harmful; the answer is harmful; the answer declines."""


class Filter(Protocol):
    """A safety classifier of training rows.

    Attributes:
        name: How the configuration names it.
        revision: Hash of its weights and settings; equal revisions give equal verdicts.
        threshold: The unsafe probability from which it flags a row.
    """

    name: str
    revision: str
    threshold: float

    def score(self, samples: Sequence[Sample]) -> list[Verdict]:
        """One verdict per sample, in order.

        Action "keep" below the threshold, "revise" from it on, "error" if the sample could not be scored.
        """
        ...
