"""Reading a source: every row becomes a sample or a BadRow, or is left out because the options say so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from safefed.config import BucketConfig, SourceConfig
from safefed.errors import DataError
from safefed.records import Message, Sample
from safefed.sources.containers import raw_rows
from safefed.sources.formats import Fields, Format, fitting
from safefed.sources.labels import label_of
from safefed.sources.plan import NOTHING, Plan, make_plan
from safefed.sources.rows import LINE_LIMIT, BadRow, Row, RowError, plain_text, scalar_text
from safefed.sources.turns import checked


def read_rows(
    source: SourceConfig, *, line_limit: int = LINE_LIMIT, carried: Mapping[str, str] = NOTHING
) -> Iterator[Sample | BadRow]:
    """The rows of a source, streamed; what is wrong with the source as a whole is raised before the first.

    Rows that ``where`` or ``bucket`` leave out are not yielded; a row that cannot be used is a BadRow, whatever its
    bucket. ``limit`` counts what is yielded. Of preference and hh rows the sample is the chosen side; an answer of the
    rejected side to the same conversation is its ``meta["rejected"]``. A bare-prompt mapping (``prompt`` without
    ``response``) yields samples without an answer.

    Args:
        source: Where and how. A prompt is joined, then labelled, filtered and limited, in that order.
        line_limit: Bytes one row may have, 8 MB by default.
        carried: Further columns to put into ``Sample.meta`` as text, name in ``meta`` -> column; empty cells are left
            out.

    Raises:
        DataError: at once, as ``make_plan``; while reading, for a damaged file; at the end, when no row was left.
    """
    return _stream(make_plan(source, line_limit, carried), line_limit)


def read_pool(sources: Iterable[SourceConfig]) -> tuple[list[Sample], list[str]]:
    """Every usable row of ``sources``, and where each unusable one stands."""
    samples, bad = [], []
    for source in sources:
        for row in read_rows(source):
            if isinstance(row, BadRow):
                bad.append(f"{row.where}: {row.reason}")
            else:
                samples.append(row)
    return samples, bad


def _stream(plan: Plan, line_limit: int) -> Iterator[Sample | BadRow]:
    count = 0
    for row in raw_rows(plan.path, line_limit):
        outcome = _outcome(plan, row) if isinstance(row, Row) else row
        if outcome is None:
            continue
        yield outcome
        count += 1
        if count == plan.source.limit:
            return
    if not count:
        raise DataError(f"{plan.path}: no row is left after where and bucket; widen them")


def _outcome(plan: Plan, row: Row) -> Sample | BadRow | None:
    """What one row is; None when the options leave it out."""
    if plan.source.where and not _matches(plan.source.where, row):
        return None
    try:
        sample = _sample(plan, row)
    except RowError as error:
        return row.bad(error.reason)
    bucket = plan.source.bucket
    return sample if bucket is None or _in_bucket(bucket, sample.prompt) else None


def _sample(plan: Plan, row: Row) -> Sample:
    fields = plan.join(row.fields)
    if plan.detected and len(fitting(fields)) > 1:
        raise RowError("two_formats")
    bare = plan.source.prompt is not None and plan.source.response is None
    messages = checked(plan.format.convert(fields), answered=not bare)
    return Sample(messages, plan.path.name, _meta(plan, row) | _rejected(plan.format, fields, messages))


def _rejected(format: Format, fields: Fields, chosen: Sequence[Message]) -> dict[str, str]:
    """The answer that a row of preference data does not want; {} if it is unusable or answers something else."""
    if format.rejected is None:
        return {}
    try:
        other = checked(format.rejected(fields))
    except RowError:  # the chosen side is still a row
        return {}
    pair = other[:-1] == chosen[:-1] and other[-1] != chosen[-1]
    return {"rejected": other[-1].content} if pair else {}


def _meta(plan: Plan, row: Row) -> dict[str, Any]:
    label = label_of(plan.source, row.fields)
    meta: dict[str, Any] = {} if label is None else {"unsafe": label}
    for name, column in plan.carried.items():
        text = plain_text(row.fields.get(column))
        if text is None:
            raise RowError("bad_column")
        if text:
            meta[name] = text
    return meta


def _matches(where: dict[str, str], row: Row) -> bool:
    return all(name in row.fields and scalar_text(row.fields[name]) == text for name, text in where.items())


def _in_bucket(bucket: BucketConfig, prompt: str) -> bool:
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % bucket.of in bucket.keep
