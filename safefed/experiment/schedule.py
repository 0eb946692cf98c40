"""Stages that depend on each other, run in worker processes as soon as what they need is done."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from safefed.errors import SafefedError
from safefed.models import torch_threads
from safefed.pool import process_pool
from safefed.progress import Advance, Progress
from safefed.relay import Parts, connect, sender, shown

PAUSE = 0.1
"""Seconds between looks at what workers report."""


@dataclass(frozen=True, slots=True)
class Task:
    """One stage: a picklable function, its arguments, and the names of the tasks it needs.

    ``kind`` and ``label`` are for those who look at it: which sort of stage this is, and its name for people. If it
    ``reports``, the function is given ``progress`` as well.
    """

    name: str
    kind: str
    label: str
    run: Callable[..., Any]
    args: Sequence[Any] = ()
    needs: Sequence[str] = ()
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A finished task: what it returned, the seconds it worked and how long it waited for a free worker."""

    name: str
    result: Any
    seconds: float
    waited: float


def _timed(task: Task, progress: Progress | None = None) -> tuple[Any, float]:
    """What came of a task, and its seconds; ``progress`` shows its parts, None: what started this worker does."""
    started = time.monotonic()
    options = {"progress": Parts(progress or sender(), task.label)} if task.reports else {}
    return task.run(*task.args, **options), time.monotonic() - started


@dataclass(frozen=True, slots=True)
class _Running:
    name: str
    waited: float
    advance: Advance
    shown: ExitStack


@dataclass
class _Board:
    """The state of one ``run_tasks`` call."""

    todo: list[Task]
    pool: ProcessPoolExecutor
    workers: int
    progress: Progress
    show: Callable[[], None]
    done: dict[str, Done] = field(default_factory=dict)
    ready_since: dict[str, float] = field(default_factory=dict)
    running: dict[Future[tuple[Any, float]], _Running] = field(default_factory=dict)

    def submit_ready(self) -> None:
        ready = [task for task in self.todo if all(need in self.done for need in task.needs)]
        for task in ready:
            self.ready_since.setdefault(task.name, time.monotonic())
        for task in ready[: self.workers - len(self.running)]:
            self.todo.remove(task)
            shown = ExitStack()
            advance = shown.enter_context(self.progress.task(task.label, 1))
            waited = time.monotonic() - self.ready_since[task.name]
            self.running[self.pool.submit(_timed, task)] = _Running(task.name, waited, advance, shown)

    def collect(self) -> None:
        finished, _ = wait(self.running, timeout=PAUSE, return_when=FIRST_COMPLETED)
        self.show()
        for future in finished:
            running = self.running.pop(future)
            with running.shown:
                result, seconds = _outcome(future, running.name)
                running.advance(1)
            self.done[running.name] = Done(running.name, result, seconds, running.waited)


def _outcome(future: Future[tuple[Any, float]], name: str) -> tuple[Any, float]:
    try:
        return future.result()
    except BrokenProcessPool:
        raise SafefedError(
            f"the worker of stage {name!r} died (killed, or out of memory); "
            "rerun with --resume, with fewer --workers if memory was short"
        ) from None


def _run_here(tasks: Sequence[Task], threads: int, progress: Progress) -> dict[str, Done]:
    done: dict[str, Done] = {}
    with torch_threads(threads):
        for task in tasks:
            with progress.task(task.label, 1) as advance:
                done[task.name] = Done(task.name, *_timed(task, progress), waited=0.0)
                advance(1)
    return done


def run_tasks(tasks: Sequence[Task], *, workers: int, threads: int, progress: Progress) -> dict[str, Done]:
    """Run ``tasks`` in ``workers`` processes of ``threads`` threads; the first error stops everything.

    Args:
        tasks: Each after the tasks it needs; the earlier of two that could start is started.
        workers: 0 = one after the other in this process.
        threads: Torch threads of each process.
        progress: Shows one task each, and its parts while they run.

    Raises:
        SafefedError: a worker died. Whatever a task raises is raised here; finished stages stay on disk.
    """
    if workers == 0:
        return _run_here(tasks, threads, progress)
    notes = multiprocessing.get_context("spawn").SimpleQueue()
    with shown(notes, progress) as show, process_pool(workers, threads, connect, notes) as pool:
        board = _Board(list(tasks), pool, workers, progress, show)
        while len(board.done) < len(tasks):
            board.submit_ready()
            board.collect()
        return board.done
