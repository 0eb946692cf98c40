"""Chunks of rows and their verdicts: scored in this process or in several, always in the order of the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from safefed.constitution import Screen
from safefed.errors import ConfigError, SafefedError
from safefed.filters import Filter, load_filter
from safefed.pool import process_pool
from safefed.records import Sample, Verdict
from safefed.screening import by_filter
from safefed.sources import BadRow


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are screened and committed together; ``digest`` says which rows they are."""

    digest: str
    rows: Sequence[Sample | BadRow]

    @property
    def samples(self) -> list[Sample]:
        """The rows that can be used."""
        return [row for row in self.rows if isinstance(row, Sample)]


Scored = Iterator[tuple[Chunk, list[Verdict]]]
Scorer = Callable[[Iterable[Chunk]], Scored]


@contextmanager
def scorer(screen: Screen, judge: Filter | None, workers: int) -> Iterator[Scorer]:
    """What gives chunks their verdicts: ``screen`` here, or with several workers the filter of ``judge``'s name.

    Each worker has one thread and loads the filter once. At most two chunks per worker are on their way.

    Raises:
        ConfigError: ``workers`` is less than 1.
        SafefedError: a worker died.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; give 1 or more")
    if workers == 1 or judge is None:
        yield lambda chunks: ((chunk, screen(chunk.samples)) for chunk in chunks)
        return
    with process_pool(workers, threads=1) as pool:
        yield lambda chunks: _ordered(pool, workers, judge, chunks)


def _ordered(pool: ProcessPoolExecutor, workers: int, judge: Filter, chunks: Iterable[Chunk]) -> Scored:
    waiting: deque[tuple[Chunk, Future[list[Verdict]]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_score, judge.name, judge.threshold, judge.revision, chunk.samples)))
            if len(waiting) == 2 * workers:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except BrokenProcessPool:
        raise SafefedError(
            "a worker process died (killed, or out of memory); go on with --resume, "
            "with fewer --workers if memory was short"
        ) from None


def _first(waiting: deque[tuple[Chunk, Future[list[Verdict]]]]) -> tuple[Chunk, list[Verdict]]:
    chunk, future = waiting.popleft()
    return chunk, future.result()


def _score(name: str, threshold: float, revision: str, samples: Sequence[Sample]) -> list[Verdict]:
    """What a worker does; ``load_filter`` loads a filter once per process."""
    judge = load_filter(name, threshold=threshold)
    if judge.revision != revision:
        raise ConfigError(f"the filter that workers load as {name!r} is not the one given; score with workers = 1")
    return by_filter(judge)(samples)
