"""Seconds by stage."""

import time

import pytest

from safefed.stopwatch import Stopwatch


def test_a_stage_inside_another_pauses_it_so_that_no_second_counts_twice():
    watch, began = Stopwatch(), time.perf_counter()

    with watch.stage("outer"):
        watch.timed("inner", time.sleep)(0.02)

    assert watch.seconds["inner"] >= 0.02
    assert watch.seconds["outer"] < 0.02
    assert watch.total <= time.perf_counter() - began


def test_waiting_for_items_is_timed_and_working_on_them_is_not():
    watch, slow = Stopwatch(), iter(lambda: time.sleep(0.005) or 1, 2)

    for n, _ in enumerate(watch.each("read", slow)):
        time.sleep(0.02)
        if n == 1:
            break

    assert 0.01 <= watch.seconds["read"] < 0.035


def test_items_come_in_order_and_end_and_an_error_among_them_is_passed_on():
    assert list(Stopwatch().each("read", "abc")) == ["a", "b", "c"]
    with pytest.raises(ZeroDivisionError):
        list(Stopwatch().each("read", (1 // n for n in (1, 0))))


def test_a_speed_without_rows_is_not_a_number():
    watch = Stopwatch()

    with watch.stage("work"):
        pass

    assert watch.rows_per_second is None
