import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from safefed.pool import process_pool

PARENT = """
import os, signal, time
from safefed.pool import process_pool
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a script ignore it
    with process_pool(1, threads=1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        while True:
            time.sleep(0.1)  # a signal on the way into a sleep does not end it
"""


def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_when_their_parent_is_killed_or_interrupted_and_say_nothing(tmp_path, how):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    worker = int(parent.stdout.readline())

    os.killpg(parent.pid, how) if how == signal.SIGINT else parent.kill()

    assert gone(worker)
    assert parent.communicate()[1].count("Traceback") == (how == signal.SIGINT)


def test_a_worker_that_dies_breaks_its_future_and_a_worker_has_its_threads():
    with process_pool(1, threads=3) as pool:
        threads = pool.submit(os.getenv, "OMP_NUM_THREADS").result()
        with pytest.raises(BrokenProcessPool):
            pool.submit(os._exit, 1).result()

    assert threads == "3"


def test_an_error_in_the_body_stops_workers_that_are_still_at_work():
    def body():
        with process_pool(1, threads=1) as pool:
            pool.submit(time.sleep, 60)
            raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        body()

    assert time.monotonic() - started < 30
