"""Worker processes that end when their parent does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any


class _Pool(ProcessPoolExecutor):
    """Its workers, which ``submit`` starts, never see a Ctrl-C: they are born with the signal blocked."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def process_pool(
    workers: int, threads: int, begin: Callable[..., None] | None = None, *args: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``workers`` fresh processes; when the body raises, they are stopped at once.

    They are spawned, so a script that gets here needs an ``if __name__ == "__main__"`` guard. Ctrl-C is the parent's
    to handle. A worker that dies raises BrokenProcessPool from its future, and from the next ``submit``.

    Args:
        workers: Processes, started as they are needed.
        threads: Threads of the numeric libraries in each of them.
        begin: Called in each of them before its first task; pickled.
        args: Its arguments; queues may be among them.
    """
    context = multiprocessing.get_context("spawn")
    pool = _Pool(workers, mp_context=context, initializer=_start_worker, initargs=(threads, begin, args))
    before = set(multiprocessing.active_children())
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int, begin: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    """One thread count per worker, set before numpy and torch are imported there."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin:
        begin(*args)


def _end_with_parent() -> None:
    """A worker waits for its next task for ever, also when the parent was killed and will give none."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
