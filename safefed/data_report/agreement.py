"""Where two filters agree on the same rows, and where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product, zip_longest
from pathlib import Path

import numpy as np

from safefed.data_report.tally import Top
from safefed.dataset import VERDICTS
from safefed.errors import DataError
from safefed.filters.quality import decisions
from safefed.policy import flagged
from safefed.records import Verdict
from safefed.store import read_jsonl

Pair = tuple[Verdict, Verdict]
"""What the filter here and the filter there say of one row."""


@dataclass(slots=True)
class Agreement:
    """The verdicts of two filters on the same rows.

    Attributes:
        table: Rows by (flagged here, flagged there).
        n_unscored: Rows that at least one of them could not screen; left out of everything else.
        only_here: Of the rows flagged here only, those whose scores are furthest apart.
        only_there: The same for rows flagged there only.
    """

    table: dict[tuple[bool, bool], int] = field(
        default_factory=lambda: dict.fromkeys(product((True, False), (True, False)), 0)
    )
    n_unscored: int = 0
    only_here: Top[Pair] = field(default_factory=Top)
    only_there: Top[Pair] = field(default_factory=Top)

    def add(self, here: Verdict, there: Verdict) -> None:
        """Count one row."""
        if "error" in (here.action, there.action):
            self.n_unscored += 1
            return
        cell = (flagged(here), flagged(there))
        self.table[cell] += 1
        if cell[0] != cell[1]:
            top = self.only_here if cell[0] else self.only_there
            top.add(abs(here.unsafe - there.unsafe), here.sample_id, (here, there))

    @property
    def n(self) -> int:
        """Rows that both screened."""
        return sum(self.table.values())

    @property
    def n_different(self) -> int:
        """Rows that only one of them flags."""
        return self.table[True, False] + self.table[False, True]

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond chance, 1 at best. None where no row was screened by both."""
        if not self.n:
            return None
        here, there = (np.repeat([cell[side] for cell in self.table], [*self.table.values()]) for side in (0, 1))
        return decisions(here, there).kappa


def read_verdicts(folder: Path) -> Iterator[Verdict]:
    """The verdicts of a finished data set, one per row, in the order of the rows."""
    return map(Verdict.from_json, read_jsonl(folder / VERDICTS))


def agreement(here: Path, there: Path) -> Agreement:
    """Compare the verdicts of two finished data sets.

    Raises:
        DataError: they are not over the same rows in the same order.
    """
    result = Agreement()
    pairs = zip_longest(read_verdicts(here), read_verdicts(there))
    for number, (mine, theirs) in enumerate(pairs, 1):
        if mine is None or theirs is None or mine.sample_id != theirs.sample_id:
            raise DataError(
                f"{there} was made from other rows than {here} (row {number} differs); "
                "compare data sets made from one source with the same options"
            )
        result.add(mine, theirs)
    return result
