"""Chunks of rows and what becomes of them: worked on in this process or in several, always in the rows' order."""

from __future__ import annotations

import functools
import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from safefed.config import PolicyConfig
from safefed.constitution import Screen
from safefed.errors import ConfigError, SafefedError
from safefed.filters import Filter, load_filter
from safefed.outcomes import Outcomes, outcomes
from safefed.pool import process_pool
from safefed.records import Sample, Verdict
from safefed.screening import Reviser, by_filter, decide
from safefed.sources import BadRow
from safefed.stopwatch import Stopwatch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are screened and committed together.

    Attributes:
        digest: Says which rows they are.
        start: How many rows came before.
    """

    digest: str
    start: int
    rows: Sequence[Sample | BadRow]


Treated = Iterator[tuple[Chunk, Outcomes]]


@contextmanager
def treatment(
    screen: Screen,
    judge: Filter | None,
    reviser: Reviser | None,
    policy: PolicyConfig,
    workers: int,
    watch: Stopwatch,
    *,
    keep_originals: bool = True,
) -> Iterator[Callable[[Iterable[Chunk]], Treated]]:
    """What screens chunks and decides on their rows: with ``screen``, or in workers that load the filter ``judge``.

    Each worker has one thread and loads the filter once; at most two chunks per worker are on their way. Revisions are
    made here, with the one model. ``watch`` takes the time of "revise" and "write" that is spent here. Without
    ``keep_originals`` no flagged answer comes out of it.

    Raises:
        ConfigError: ``workers`` is less than 1, or they cannot load the filter.
        SafefedError: a worker died.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; give 1 or more")

    def decided(chunk: Chunk, verdicts: Sequence[Verdict]) -> tuple[Chunk, Outcomes]:
        with watch.stage("revise"):  # what is left of it when its screens are taken out
            decisions = decide(chunk.rows, verdicts, screen, reviser, policy)
        with watch.stage("write"):
            return chunk, outcomes(decisions, chunk.start, keep_originals=keep_originals)

    if workers == 1 or judge is None:
        yield lambda chunks: (decided(chunk, _verdicts(chunk, screen)) for chunk in chunks)
        return
    named = judge.name, judge.threshold, judge.revision
    screened = functools.partial(_screened, *named, policy, keep_originals)
    with process_pool(workers, threads=1) as pool:
        if reviser is None:
            yield lambda chunks: _ordered(pool, workers, screened, chunks)
        else:
            score = functools.partial(_scored, *named)
            yield lambda chunks: (decided(*scored) for scored in _ordered(pool, workers, score, chunks))


def _verdicts(chunk: Chunk, screen: Screen) -> list[Verdict]:
    samples = [row for row in chunk.rows if isinstance(row, Sample)]
    return screen(samples) if samples else []


def _ordered(
    pool: ProcessPoolExecutor, workers: int, work: Callable[[Chunk], T], chunks: Iterable[Chunk]
) -> Iterator[tuple[Chunk, T]]:
    waiting: deque[tuple[Chunk, Future[T]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(work, chunk)))
            if len(waiting) == 2 * workers:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except BrokenProcessPool:  # from a result, or from submitting to a pool that broke since the last one
        raise SafefedError(
            "a worker process died (killed, or out of memory); go on with --resume, "
            "with fewer --workers if memory was short"
        ) from None


def _first(waiting: deque[tuple[Chunk, Future[T]]]) -> tuple[Chunk, T]:
    chunk, future = waiting.popleft()
    return chunk, future.result()


@functools.lru_cache(maxsize=1)
def _worker_screen(name: str, threshold: float, revision: str) -> Screen:
    """The screen of a worker process, loaded once."""
    judge = load_filter(name, threshold=threshold)
    if judge.revision != revision:
        raise ConfigError(f"the filter that workers load as {name!r} is not the one given; score with workers = 1")
    gc.freeze()  # else every search for garbage goes through the filter's tables: a third of receiving rows
    return by_filter(judge)


def _scored(name: str, threshold: float, revision: str, chunk: Chunk) -> list[Verdict]:
    """What a worker does when the parent is to revise."""
    return _verdicts(chunk, _worker_screen(name, threshold, revision))


def _screened(
    name: str, threshold: float, revision: str, policy: PolicyConfig, keep_originals: bool, chunk: Chunk
) -> Outcomes:
    """What a worker does when nothing is to be revised: all but reading and writing."""
    screen = _worker_screen(name, threshold, revision)
    decisions = decide(chunk.rows, _verdicts(chunk, screen), screen, None, policy)
    return outcomes(decisions, chunk.start, keep_originals=keep_originals)
