import os
import time

import pytest

from safefed.errors import DataError, SafefedError
from safefed.experiment.schedule import Task, run_tasks
from safefed.progress import Silent


def write(path: str, text: str) -> str:
    with open(path, "a") as handle:
        handle.write(text)
    return text


def fail() -> None:
    raise DataError("no rows")


def die() -> None:
    os._exit(9)


def test_a_task_starts_after_what_it_needs_and_its_result_comes_back(tmp_path):
    log = str(tmp_path / "log")
    tasks = [Task("b", "train", "b", write, (log, "b"), ["a"]), Task("a", "train", "a", write, (log, "a"))]

    done = run_tasks(tasks, workers=2, threads=1, progress=Silent())

    assert (tmp_path / "log").read_text() == "ab"
    assert done["b"].result == "b"
    assert done["a"].seconds >= 0


def test_the_error_of_a_task_is_raised_as_it_was():
    with pytest.raises(DataError, match="no rows"):
        run_tasks(
            [Task("a", "train", "a", fail), Task("b", "train", "b", time.sleep, (60,))],
            workers=2,
            threads=1,
            progress=Silent(),
        )


def test_a_worker_that_dies_is_an_error_that_says_how_to_go_on():
    with pytest.raises(SafefedError, match=r"'a' died.*--resume"):
        run_tasks([Task("a", "train", "a", die)], workers=1, threads=1, progress=Silent())
