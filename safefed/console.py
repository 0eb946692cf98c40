"""Progress for a person: bars on a terminal, and one line per finished task everywhere. All of it on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from safefed.progress import Advance, Progress


class ConsoleProgress:
    """Implements ``safefed.progress.Progress`` with rich; several tasks may be open at once."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def task(self, description: str, total: int, *, part: bool = False) -> Iterator[Advance]:
        """A bar until ``total`` steps are done (0 = unknown: until the body ends), then a line with the time taken.

        A part of another task leaves no line.
        """
        label = escape(description)
        bar = self._bars.add_task(label, total=total or None)
        started, done = time.monotonic(), 0

        def finish() -> None:
            self._bars.update(bar, visible=False)
            if part:
                return
            self._bars.console.print(f"{label}: {done} in {time.monotonic() - started:.1f} s", highlight=False)

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            self._bars.advance(bar, steps)
            if done == total:
                finish()

        try:
            yield advance
            if done < total or not total:
                finish()
        finally:
            self._bars.remove_task(bar)


@contextmanager
def console_progress(console: Console | None = None) -> Iterator[Progress]:
    """Progress on ``console`` (default: stderr) while the body runs."""
    console = console or Console(stderr=True, soft_wrap=True)
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bars:
        yield ConsoleProgress(bars)
