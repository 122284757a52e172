"""Threads that are asked before they get work."""

from __future__ import annotations

import threading

import pytest

from app.lib.slots import Slots


class Watched(Slots):
    """Slots that say what becomes of their threads."""

    def __init__(self, threads):
        super().__init__(threads, threading.Event(), "test")
        self.failures, self.freed_times = [], 0

    def failed(self, error):
        self.failures.append(error)

    def freed(self):
        self.freed_times += 1


@pytest.fixture
def slots():
    made = Watched(1)
    yield made
    made.pool.shutdown()


def test_work_is_refused_while_all_threads_are_busy_and_taken_afterwards(slots):
    release = threading.Event()
    first = slots.submit(release.wait)
    assert (slots.submit(int), slots.has_free_slot(), slots.is_idle()) == (None, False, False)
    release.set()
    first.result()
    assert slots.is_idle(timeout=5)
    assert slots.submit(int) is not None


def test_work_is_refused_once_the_slots_are_to_stop(slots):
    slots.stop.set()
    assert slots.submit(int) is None
    assert slots.free() == 1


def test_a_thread_survives_whatever_its_work_did(slots):
    slots.submit(lambda: 1 / 0).result()
    assert [type(error) for error in slots.failures] == [ZeroDivisionError]
    assert (slots.free(), slots.freed_times) == (1, 1)
