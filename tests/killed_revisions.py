"""Run by the tests in a process of its own: revises rows in children, kills them, counts what is paid for twice.

Usage: killed_revisions.py FOLDER fsync|random N [URL]. Prints one JSON object. "fsync" kills at every N-th one,
"random" N times. The generator is scripted, in batches, or the server of ``served_model.py`` at URL.
"""

import hashlib
import json
import os
import random
import sys
import time
import urllib.request
from itertools import count
from pathlib import Path

from killed_preprocess import die_at_fsync, forked, killed, read

from safefed.config import GeneratorConfig, ReviseConfig
from safefed.constitution import load_constitution
from safefed.endpoint import EndpointGenerator
from safefed.generate import Generation
from safefed.preprocessing import Reviser, screen_rows
from safefed.records import Sample, Verdict

BATCH = 4
CHUNK = 12
CONSTITUTION = load_constitution()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Filter:
    """Flags marked answers and a third of all revisions, so that some rows need several attempts."""

    name, revision, threshold = "scripted", "1", 0.5

    def score(self, samples):
        return [
            Verdict(s.id, "scripted", {"response": 0.5}, 0.5, action="revise" if self.flags(s.response) else "keep")
            for s in samples
        ]

    def flags(self, answer):
        return "UNSAFE" in answer or (answer.startswith("No,") and int(digest(answer), 16) % 3 == 0)


class Scripted:
    """In batches; each answer that was worked out stands in ``paid``."""

    revision = "scripted"

    def __init__(self, paid, pause):
        self.paid, self.pause = paid, pause

    def stream(self, conversations, *, max_new_tokens):  # noqa: ARG002
        for start in range(0, len(conversations), BATCH):
            batch = dict(enumerate(conversations[start : start + BATCH], start))
            with self.paid.open("a") as handle:
                handle.writelines(f"{digest(c[0].content)}\n" for c in batch.values())
            time.sleep(self.pause)
            yield {i: Generation(f"No, not for {digest(c[0].content)[:9]}.", "stop") for i, c in batch.items()}

    def generate(self, conversations, *, max_new_tokens):  # noqa: ARG002
        raise AssertionError("it can be streamed, so it should be")


def rows():
    return [Sample.of(f"question {n}", f"{'UNSAFE ' if n % 3 else ''}answer {n}") for n in range(2 * CHUNK)]


class Local:
    slack = BATCH

    def __init__(self, folder):
        self.log = folder / "paid.log"

    def generator(self, pause):
        return Scripted(self.log, pause)

    def paid(self):
        return len(self.log.read_text().splitlines())


class Remote:
    slack = 3

    def __init__(self, url):
        self.url = url
        self.call("faults", {"*": "brief"})

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url.removesuffix('v1')}{path}", data) as answer:
            return json.loads(answer.read())

    def generator(self, _pause):
        config = {"kind": "endpoint", "url": self.url, "model": "served", "concurrency": self.slack}
        return EndpointGenerator(GeneratorConfig(**config))

    def paid(self):
        time.sleep(0.1)  # what was on its way when the client died is answered by now
        return len(self.call("asked")["answered"])


def work(out, model, pause):
    reviser = Reviser(CONSTITUTION, ReviseConfig(), lambda: model.generator(pause))
    screen_rows(rows(), out, action="revise", filter=Filter(), reviser=reviser, chunk=CHUNK)


def started(mode, i, out, model, seconds, rng):
    """A child that is killed at its fsync number ``i``, or at some moment."""
    if mode == "fsync":
        return forked(lambda: (die_at_fsync(i), work(out, model, 0)))
    pid = forked(lambda: work(out, model, 0.01))
    time.sleep(rng.uniform(0, seconds))
    os.kill(pid, 9)
    return pid


def main(folder, mode, n, url=None):
    def model(name):
        (folder / name).mkdir()
        return Remote(url) if url else Local(folder / name)

    first, begun = model("reference"), time.monotonic()
    work(folder / "reference" / "out", first, 0.01)
    seconds, reference = time.monotonic() - begun, read(folder / "reference" / "out")
    whole, most = first.paid(), 0
    deaths, problems, rng = 0, [], random.Random(0)
    for i in count():
        one, out = model(str(i)), folder / str(i) / "out"
        died = killed(started(mode, i * n, out, one, seconds, rng))
        if killed(forked(lambda: work(out, one, 0))):  # noqa: B023
            problems.append(f"death {i}: the resumed run failed")
        elif read(out) != reference:
            problems.append(f"death {i}: the output differs")
        most, deaths = max(most, one.paid() - whole), deaths + died
        if (mode == "fsync" and not died) or (mode == "random" and deaths == n):
            break
    problems += [f"{most} paid twice"] if most > first.slack else []
    print(
        json.dumps({"deaths": deaths, "problems": problems, "paid": whole, "twice": most, "files": sorted(reference)})
    )


main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
