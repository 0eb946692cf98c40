"""Run by the tests in a process of its own: screens rows in children and kills them.

Usage: killed_preprocess.py FOLDER fsync|random|command N. Prints one JSON object. The first two fork, and count what is
scored twice; "command" runs ``safefed preprocess`` over FOLDER/rows.jsonl with 1 to 3 workers.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import psutil

from safefed.config import ReviseConfig
from safefed.constitution import load_constitution
from safefed.generate import Generation
from safefed.preprocessing import Reviser, screen_rows
from safefed.records import Sample, Verdict
from safefed.sources import BadRow

CHUNK = 8
ROWS = 22
REVISER_PARTS = load_constitution(), ReviseConfig()


class Filter:
    name = "scripted"
    revision = "1"
    threshold = 0.5

    def __init__(self, log, pause):
        self.log, self.pause = log, pause

    def score(self, samples):
        time.sleep(self.pause)
        with self.log.open("a") as handle:
            handle.writelines(f"{s.id}\n" for s in samples if not s.meta.get("revised"))
        return [
            Verdict(s.id, "scripted", {"response": 0.5}, 0.5, action="revise" if "UNSAFE" in s.response else "keep")
            for s in samples
        ]


class Generator:
    revision = "scripted"

    def generate(self, conversations, *, max_new_tokens):  # noqa: ARG002
        return [Generation(f"No. I would rather not, for {len(c[0].content)} reasons.", "stop") for c in conversations]


def rows():
    for n in range(ROWS):
        if n % 11 == 5:
            yield BadRow(n, f"file:{n}", "invalid_json", b"{\xff" * n)
        else:
            yield Sample.of(f"question {n % 25}", f"{'UNSAFE ' if n % 4 == 0 else ''}answer \u00e9 {n % 25}", n=n)


def work(out, log, pause):
    reviser = Reviser(*REVISER_PARTS, Generator)
    screen_rows(rows(), out, action="revise", filter=Filter(log, pause), reviser=reviser, chunk=CHUNK)


def forked(job):
    """Starts ``job`` in a child of this process; returns the child's id."""
    pid = os.fork()
    if pid:
        return pid
    job()
    os._exit(0)


def killed(pid):
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def die_at_fsync(n):
    left, real = [n], os.fsync

    def fsync(handle):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = fsync


def read(folder):
    """Without the report, which says how long the screen took."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "report.html"}


def one_death(folder, reference, start):
    """Kills one run, resumes it; returns (was it killed, what is wrong)."""
    out, log = folder / "out", folder / "scored.log"
    died = killed(start(out, log))
    unfinished = not (out / "manifest.json").exists()
    if killed(forked(lambda: work(out, log, 0))):
        return died, ["the resumed run failed"]
    wrong = [] if read(out) == reference else ["the output differs"]
    scored = len(log.read_text().splitlines())
    n_samples = sum(isinstance(row, Sample) for row in rows())
    wrong += [f"{scored} rows scored for {n_samples}"] if scored > n_samples + CHUNK else []
    return died, wrong if died or not unfinished else [*wrong, "a run that was not killed did not finish"]


def fsync_death(n):
    return lambda out, log: forked(lambda: (die_at_fsync(n), work(out, log, 0)))


def timed_death(rng):
    def start(out, log):
        pid = forked(lambda: work(out, log, 0.01))
        time.sleep(rng.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
        return pid

    return start


def command(folder, out, workers, *options):
    """Starts ``safefed preprocess`` with the filter ``linear``."""
    where = ["preprocess", folder / "rows.jsonl", "--out", out, "--action", "drop", "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "safefed", *where, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def began(out, running):
    while not (out / "journal.json").exists() and running.poll() is None:
        time.sleep(0.005)
    return time.monotonic()


def left_alive(processes):
    _, alive = psutil.wait_procs(processes, timeout=10)
    return [process.pid for process in alive]


def command_death(folder, out, reference, seconds, rng):
    """Kills one command between its first write and its end, resumes it with as many workers as chance has it."""
    running = command(folder, out, rng.randint(1, 3))
    began(out, running)
    time.sleep(rng.uniform(0, seconds))
    family = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    died = running.wait() == -signal.SIGKILL
    running.stderr.close()
    wrong = [f"processes {alive} live on"] if (alive := left_alive(family)) else []
    resumed = command(folder, out, rng.randint(1, 3), "--resume")
    said = resumed.communicate()[1]
    if resumed.returncode:
        return died, [*wrong, f"the resumed command failed: {said}"]
    return died, wrong if read(out) == reference else [*wrong, "the output differs"]


def commands(folder, n):
    """Deaths, problems and files of ``n`` killed commands."""
    running = command(folder, folder / "reference", 1)
    started = began(folder / "reference", running)
    running.communicate()
    seconds, reference = time.monotonic() - started, read(folder / "reference")
    rng, deaths, problems = random.Random(0), 0, []
    numbers = count()
    while deaths < n:
        i = next(numbers)
        died, wrong = command_death(folder, folder / str(i), reference, seconds, rng)
        deaths += died
        problems += [f"death {i}: {text}" for text in wrong]
    return deaths, problems, sorted(reference)


def forks(folder, mode, n):
    """Deaths, problems and files of ``n`` killed forks, or of one at each fsync."""
    work(folder / "reference", folder / "reference.log", 0)
    reference, deaths, problems = read(folder / "reference"), 0, []
    rng = random.Random(0)
    for i in count():
        (folder / str(i)).mkdir()
        start = fsync_death(i) if mode == "fsync" else timed_death(rng)
        died, wrong = one_death(folder / str(i), reference, start)
        deaths += died
        problems += [f"death {i}: {text}" for text in wrong]
        if (mode == "fsync" and not died) or (mode == "random" and deaths == n):
            break
    return deaths, problems, sorted(reference)


def main(folder, mode, n):
    deaths, problems, files = commands(folder, n) if mode == "command" else forks(folder, mode, n)
    print(json.dumps({"deaths": deaths, "problems": problems, "files": files}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
