"""How fast ``preprocess`` streams, against the filter alone in the same run, and how much memory that takes.

usage: python perf/streaming.py [--rows 10000,100000,1000000] [--workers 2] [--filter linear] [--folder DIR]

Writes JSON Lines of about 200 tokens a row (a seeded vocabulary of 30,000 words with Zipf weights), and for each size
times ``preprocess(action="drop")``: rows per second, the CPU time of a row here and in the workers, the peak of all
processes' memory together (target: 1 GB). Before and after, as many processes as there are workers do nothing but the
filter's ``score`` over the first of these rows, at the same time; the ratio is the pipeline's speed to theirs (target:
0.85). The pipeline's time holds the start of its workers, seconds that the smallest size shows. The last ratio is the
cost of a row at the largest size to that at the smallest (target: 1).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil

from safefed.config import ScreenConfig, SourceConfig
from safefed.filters import load_filter
from safefed.pool import process_pool
from safefed.preprocessing import CHUNK, preprocess
from safefed.records import Sample
from safefed.sources import read_rows

VOCABULARY, WORDS, SENTENCE = 30_000, 150, 15
"""150 words of 2 to 9 letters are about 200 tokens and 1,000 characters."""

SCORED = 10_000
"""Rows that the filter's own speed is measured on."""


def vocabulary(rng: np.random.Generator) -> list[str]:
    """Words of random letters."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return ["".join(rng.choice(letters, size=length)) for length in rng.integers(2, 10, VOCABULARY)]


def rows(n: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """``n`` rows with a prompt of 3 sentences and a completion of 7."""
    rng = np.random.default_rng(seed)
    words = vocabulary(rng)
    cumulated = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1))
    for _ in range(n):
        drawn = np.searchsorted(cumulated, rng.random(WORDS) * cumulated[-1])
        chosen = [words[i] for i in drawn]
        cut = [" ".join(chosen[i : i + SENTENCE]).capitalize() + "." for i in range(0, WORDS, SENTENCE)]
        yield {"prompt": " ".join(cut[:3]), "completion": " ".join(cut[3:])}


def written(path: Path, n: int) -> Path:
    """``path`` with ``n`` rows in it."""
    with path.open("w") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows(n))
    return path


class Watch:
    """The processes of this program while ``running``: the peak of their memory together, and their CPU time."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self.peak = 0
        self.workers: dict[int, float] = {}

    def _look(self) -> None:
        children = [child.pid for child in multiprocessing.active_children() if child.pid]
        self.peak = max(self.peak, self._me.memory_info().rss + sum(map(self._worker, children)))

    def _worker(self, pid: int) -> int:
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            self.workers[pid] = times.user + times.system
            return process.memory_info().rss
        except psutil.NoSuchProcess:
            return 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look ten times a second."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                self._look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def scored_alone(path: Path, name: str) -> tuple[float, float]:
    """Rows per second, and CPU seconds of a row, of the filter alone, in chunks as ``preprocess`` makes them."""
    judge = load_filter(name)
    read = read_rows(SourceConfig(path=str(path)))
    samples = [row for row in islice(read, SCORED) if isinstance(row, Sample)]
    judge.score(samples[:CHUNK])
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(samples), CHUNK):
        judge.score(samples[start : start + CHUNK])
    return len(samples) / (time.perf_counter() - started), (time.process_time() - cpu) / len(samples)


def filter_speed(path: Path, name: str, workers: int) -> tuple[float, float]:
    """Rows per second of ``workers`` filters at work at the same time, and CPU seconds of a row."""
    with process_pool(workers, threads=1) as pool:
        found = list(pool.map(scored_alone, [path] * workers, [name] * workers))
    return sum(rate for rate, _ in found), sum(cpu for _, cpu in found) / workers


def measured(path: Path, out: Path, n: int, name: str, workers: int) -> float:
    """Wall seconds of a row in the pipeline; prints one line."""
    load_filter(name)  # as the first row of a data set pays for it, not each
    before = filter_speed(path, name, workers)
    watch, cpu, started = Watch(), time.process_time(), time.perf_counter()
    with watch.running():
        preprocess(str(path), out, action="drop", screen=ScreenConfig(filter=name), workers=workers)
    seconds, here = time.perf_counter() - started, time.process_time() - cpu
    rate, alone = ((a + b) / 2 for a, b in zip(before, filter_speed(path, name, workers), strict=True))
    print(
        f"{n:>9,} rows  {n / seconds:>7,.0f} rows/s  CPU a row: {here / n * 1e6:.0f} us here, "
        f"{sum(watch.workers.values()) / n * 1e6:.0f} us in workers  peak {watch.peak / 1e6:,.0f} MB\n"
        f"    {workers} x {name} alone  {rate:>7,.0f} rows/s  CPU a row: {alone * 1e6:.0f} us  "
        f"ratio {n / seconds / rate:.2f} (target 0.85)",
        flush=True,
    )
    return seconds / n


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--filter", default="linear")
    parser.add_argument("--folder", type=Path, help="where the files go, 4 GB for a million rows; default: temporary")
    options = parser.parse_args()
    sizes = [int(size) for size in options.rows.split(",")]
    print(f"workers {options.workers} (1 = in this process), CPUs {len(os.sched_getaffinity(0))}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        costs = []
        for n in sizes:
            path = written(Path(folder) / f"{n}.jsonl", n)
            costs.append(measured(path, Path(folder) / str(n), n, options.filter, options.workers))
            path.unlink()
        print(f"cost of a row, {sizes[-1]:,} to {sizes[0]:,} rows: {costs[-1] / costs[0]:.2f} (target 1)")


if __name__ == "__main__":
    main()
