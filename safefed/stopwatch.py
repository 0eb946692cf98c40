"""Where the time of long work goes. It is told to people and never written into results."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Stopwatch:
    """Seconds by stage. A stage that begins inside another pauses it, so no second counts twice.

    Attributes:
        seconds: By stage.
        rows: How many rows were worked on; whoever works on them adds them.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.rows = 0
        self._open: list[str] = []
        self._since = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    @property
    def rows_per_second(self) -> float | None:
        """Over all stages; None when there was nothing to do."""
        return self.rows / self.total if self.rows else None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The body is part of stage ``name``."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def timed(self, name: str, work: Callable[P, T]) -> Callable[P, T]:
        """``work``, each call of which is part of stage ``name``."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.stage(name):
                return work(*args, **kwargs)

        return call

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """``items``; waiting for the next one is part of stage ``name``."""
        iterator = iter(items)
        while True:
            try:
                with self.stage(name):
                    item = next(iterator)
            except StopIteration:
                return
            yield item

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
