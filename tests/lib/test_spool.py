"""What many threads add is written in order, once."""

from __future__ import annotations

import threading

import pytest

from app.lib.spool import Spool


def test_what_has_gathered_is_written_in_one_batch_and_nothing_twice():
    batches = []
    spool = Spool(batches.append, (OSError,))
    spool.flush()
    for item in (1, 2, 3):
        spool.add(item)
    spool.flush()
    spool.flush()
    assert batches == [[1, 2, 3]]


def test_what_could_not_be_written_comes_before_what_was_added_since():
    batches, failures = [], [OSError()]

    def write(items):
        if failures:
            spool.add("later")
            raise failures.pop()
        batches.append(items)

    spool = Spool(write, (OSError,))
    spool.add("first")
    spool.flush()
    spool.flush()
    assert batches == [["first", "later"]]


def test_an_error_that_is_not_foreseen_is_raised_and_its_batch_dropped():
    def write(items):
        raise ValueError(items)

    spool = Spool(write, (OSError,))
    spool.add("poison")
    with pytest.raises(ValueError, match="poison"):
        spool.flush()
    spool.flush()


def test_a_flush_waits_for_one_that_is_under_way():
    written, begun, go_on = [], threading.Event(), threading.Event()

    def write(items):
        begun.set()
        assert go_on.wait(10)
        written.extend(items)

    spool = Spool(write, (OSError,))
    spool.add(1)
    first = threading.Thread(target=spool.flush)
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=lambda: (spool.flush(), written.append("second")))
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert written == [1, "second"]
