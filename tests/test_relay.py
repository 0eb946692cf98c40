import multiprocessing
import subprocess
import sys

import pytest

from safefed.relay import Parts, Sender, shown


def test_what_was_reported_last_is_shown_and_what_never_ended_is_closed(seen):
    notes = multiprocessing.get_context("spawn").SimpleQueue()
    with shown(notes, seen) as show:
        stage = Parts(Sender(notes), "train a")
        killed = stage.task("rounds", 3)
        killed.__enter__()(2)
        with stage.task("answers", 5) as advance:
            advance(5)
        show()
        assert seen.open == {"train a: rounds"}

    assert seen.parts == {"train a: rounds": 2, "train a: answers": 5}
    assert not seen.open


def test_an_error_of_the_body_is_raised_and_ends_the_showing(seen):
    with pytest.raises(ValueError, match="boom"), shown(multiprocessing.get_context("spawn").SimpleQueue(), seen):
        raise ValueError("boom")

    assert not seen.open


def test_a_worker_may_import_it_before_its_threads_are_set():
    code = "import sys, safefed.relay; print({'numpy', 'torch'} & sys.modules.keys())"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
