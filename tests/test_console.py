import io

import pytest
from rich.console import Console

from safefed.console import console_progress


def lines_of(body):
    text = io.StringIO()
    with console_progress(Console(file=text, width=200)) as progress:
        body(progress)
    return [line.rpartition(" in ")[0] or line for line in text.getvalue().splitlines() if line]


def test_off_a_terminal_every_finished_task_leaves_one_line():
    def body(progress):
        with progress.task("train", 2) as outer:
            for _ in range(2):
                with progress.task("round", 3) as inner:
                    inner(3)
                outer(1)

    assert lines_of(body) == ["round: 3", "round: 3", "train: 2"]


def test_a_task_that_failed_is_never_reported_as_finished():
    def body(progress):
        with pytest.raises(ValueError, match="boom"), progress.task("train", 2):
            raise ValueError("boom")
        with progress.task("next", 1) as advance:
            advance(1)

    assert lines_of(body) == ["next: 1"]


def test_a_part_of_a_task_leaves_no_line():
    def body(progress):
        with progress.task("train", 1) as outer, progress.task("train: round", 2, part=True) as inner:
            inner(2)
            outer(1)

    assert lines_of(body) == ["train: 1"]


def test_a_task_of_unknown_length_counts_what_was_done():
    def body(progress):
        with progress.task("screen [client]", 0) as advance:
            advance(7)

    assert lines_of(body) == ["screen [client]: 7"]


def test_a_task_is_reported_when_its_last_step_is_done_even_if_it_is_closed_later():
    def body(progress):
        with progress.task("outer", 2) as outer, progress.task("inner", 1) as inner:
            outer(2)
            inner(1)

    assert lines_of(body) == ["outer: 2", "inner: 1"]
