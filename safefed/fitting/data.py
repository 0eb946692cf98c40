"""The labelled rows that a filter is fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from safefed.config import SourceConfig
from safefed.errors import ConfigError, DataError
from safefed.filters.labelled import Need, check_enough, labelled_samples
from safefed.overlap import words
from safefed.records import Sample
from safefed.sources import read_rows
from safefed.splitting import Split, split_rows

FITTING = Need("fitting", rows=40, of_each=10, instead=", or calibrate a filter with fewer: safefed calibrate")
GROUP, CATEGORY = "group", "category"

AnyRow = TypeVar("AnyRow")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled rows, each text once.

    Attributes:
        samples: The rows; ``meta`` holds "unsafe", "group" and "category".
        counts: ``n_in`` rows = ``labelled`` + those left out: ``unlabelled``, ``unusable`` (bad rows), ``repeated``,
            ``disputed`` (one text, both labels).
    """

    samples: Sequence[Sample]
    counts: Mapping[str, int]

    @property
    def unsafe(self) -> list[bool]:
        """The labels."""
        return [bool(sample.label) for sample in self.samples]


def read_labelled(source: SourceConfig, group: str | None, category: str | None) -> Labelled:
    """The labelled rows of ``source``.

    Args:
        source: Its ``label`` names the column of the label.
        group: The column whose value rows of one group have in common.
        category: The column of the hazard, S1 to S14.

    Raises:
        ConfigError: no label column is named.
        DataError: the source cannot be read, has fewer than 40 labelled rows or 10 of a kind, or no hazards.
    """
    if source.label is None:
        raise ConfigError("fitting needs labelled rows; name the column of the label: --label COL")
    carried = {name: column for name, column in ((GROUP, group), (CATEGORY, category)) if column is not None}
    rows = Labelled(*labelled_samples(read_rows(source, carried=carried)))
    check_enough(rows.unsafe, rows.counts, source, FITTING)
    if category is not None and not any(sample.hazard for sample in rows.samples):
        raise DataError(f"{source.path}: no row has a hazard from S1 to S14 in {category!r}; leave out --category")
    return rows


def split(rows: Labelled, held_out: float, seed: int) -> Split:
    """Rows to fit on and rows to measure on: no prompt, no near repetition of one and no group is on both sides.

    A prompt is all that the user says; a row without one stands for its answer. System turns tie nothing.

    Raises:
        DataError: see ``split_rows``.
    """
    texts = [_asked(sample) for sample in rows.samples]
    together = [sample.meta.get(GROUP) for sample in rows.samples]
    return split_rows(texts, rows.unsafe, held_out=held_out, together=together, seed=seed)


def _asked(sample: Sample) -> str:
    asked = "\n".join(message.content for message in sample.messages if message.role == "user")
    return asked if asked.strip() else sample.response


def answers_seen(fit: Sequence[Sample], held_out: Sequence[Sample]) -> int:
    """Held-out rows whose answer some row to fit on gives word for word: mostly refusals, and easy to recognise."""
    known = {words(sample.response) for sample in fit if sample.response}
    return sum(words(sample.response) in known for sample in held_out if sample.response)


def balanced(rows: Sequence[AnyRow], unsafe: Sequence[bool]) -> list[AnyRow]:
    """``rows`` with those of the rarer label repeated until both weigh about the same: 0.5 then means even odds."""
    kinds = [[row for row, bad in zip(rows, unsafe, strict=True) if bad is kind] for kind in (False, True)]
    rare, common = sorted(kinds, key=len)
    times = round(len(common) / len(rare)) if rare else 1
    return [*rows, *(rare * (times - 1))]
