"""What workers report while they run, shown by the process that started them.

Imported by a worker before its threads are set (``safefed.pool``), so it imports nothing that brings numpy.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing import SimpleQueue
from typing import NamedTuple

from safefed.progress import Advance, Progress


class Note(NamedTuple):
    """Of one task in a worker: it begins (with a ``total``), advances (by ``steps``) or ends (neither)."""

    task: tuple[int, int]
    description: str = ""
    total: int | None = None
    steps: int | None = None


class Parts:
    """A Progress whose tasks are shown on ``progress`` as parts of the stage ``label``."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def task(self, description: str, total: int, *, part: bool = True) -> AbstractContextManager[Advance]:  # noqa: ARG002
        """A part of the stage."""
        return self._progress.task(f"{self._label}: {description}", total, part=True)


class Sender:
    """A Progress in a worker: its parent shows what is put into ``notes``."""

    def __init__(self, notes: SimpleQueue[Note]) -> None:
        self._notes, self._numbers = notes, itertools.count()

    @contextmanager
    def task(self, description: str, total: int, *, part: bool = False) -> Iterator[Advance]:  # noqa: ARG002
        """A task that the parent shows."""
        name = os.getpid(), next(self._numbers)
        self._notes.put(Note(name, description, total))
        try:
            yield lambda steps: self._notes.put(Note(name, steps=steps))
        finally:
            self._notes.put(Note(name))


_senders: list[Sender] = []
"""In a worker: the one to its parent."""


def connect(notes: SimpleQueue[Note]) -> None:
    """Run in a worker before its first task."""
    _senders.append(Sender(notes))


def sender() -> Sender:
    """In a worker that was connected: where to report."""
    return _senders[-1]


@contextmanager
def shown(notes: SimpleQueue[Note], progress: Progress) -> Iterator[Callable[[], None]]:
    """Yields what shows on ``progress`` all that workers have put into ``notes``; call it often, or they wait."""
    tasks: dict[tuple[int, int], tuple[ExitStack, Advance]] = {}

    def show() -> None:
        while not notes.empty():
            note = notes.get()
            if note.total is not None:
                stack = ExitStack()
                tasks[note.task] = stack, stack.enter_context(progress.task(note.description, note.total, part=True))
            elif note.steps is not None:
                tasks[note.task][1](note.steps)
            else:
                tasks.pop(note.task)[0].close()

    try:
        yield show
    finally:
        for stack, _ in tasks.values():  # of workers that were stopped
            stack.close()
