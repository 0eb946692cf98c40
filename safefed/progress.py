"""How long work reports its progress, without knowing who is watching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows tasks with a known number of steps; the command line draws bars, libraries stay silent."""

    def task(self, description: str, total: int, *, part: bool = False) -> AbstractContextManager[Advance]:
        """A task of ``total`` steps (0 = unknown); call the yielded function with the number of steps just done.

        ``part``: it belongs to a task that is shown already, and is only shown while it runs.
        """
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, description: str, total: int, *, part: bool = False) -> Iterator[Advance]:  # noqa: ARG002
        """A task nobody sees."""
        yield lambda _steps: None
