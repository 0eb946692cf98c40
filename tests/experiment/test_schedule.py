"""Tasks call what every process can import: workers are spawned, and `tests` is on their path only by chance."""

import os
import shutil
import time

import pytest

from safefed.dataset import read_finished
from safefed.errors import DataError, SafefedError
from safefed.experiment.schedule import Task, run_tasks
from safefed.progress import Silent


def test_a_task_starts_after_what_it_needs_and_its_result_comes_back(tmp_path):
    (tmp_path / "file").touch()
    first, second, third = (str(tmp_path / name) for name in ("file", "moved", "moved again"))
    move = shutil.move  # fails on a file that is not there yet, or not there any more
    tasks = [Task("b", "train", "b", move, (second, third), ["a"]), Task("a", "train", "a", move, (first, second))]

    done = run_tasks(tasks, workers=2, threads=1, progress=Silent())

    assert [path.name for path in tmp_path.iterdir()] == ["moved again"]
    assert done["b"].result == third
    assert done["a"].seconds >= 0


def test_the_error_of_a_task_is_raised_as_it_was(tmp_path):
    with pytest.raises(DataError, match="no finished data set"):
        run_tasks(
            [Task("a", "train", "a", read_finished, (tmp_path,)), Task("b", "train", "b", time.sleep, (60,))],
            workers=2,
            threads=1,
            progress=Silent(),
        )


def test_a_worker_that_dies_is_an_error_that_says_how_to_go_on():
    with pytest.raises(SafefedError, match=r"'a' died.*--resume"):
        run_tasks([Task("a", "train", "a", os._exit, (9,))], workers=1, threads=1, progress=Silent())
