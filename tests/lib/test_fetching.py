"""Threads that fetch work in batches: what finds no thread goes back, and nothing is done twice."""

from __future__ import annotations

import threading

import pytest

from app.lib import fetching
from app.lib.fetching import Fetching


class Numbers(Fetching[int, str]):
    """Fetches numbers; to do one is to wait until it is let."""

    def __init__(self, threads, there):
        super().__init__(threads, "test")
        self.there, self.limits, self.done, self.back = list(there), [], [], []
        self.let = threading.Event()

    def fetch(self, limit):
        self.limits.append(limit)
        found, self.there = self.there[:limit], self.there[limit:]
        return found

    def do(self, piece):
        self.let.wait(10)
        self.done.append(piece)
        return None if piece == 13 else str(piece)

    def give_back(self, piece):
        self.back.append(piece)


@pytest.fixture
def numbers():
    made = Numbers(3, range(8))
    yield made
    made.let.set()
    made.pool.shutdown()


def test_as_much_is_fetched_as_there_are_free_threads_which_go_on_with_the_rest(numbers):
    numbers.let.set()
    numbers.poll()
    assert numbers.is_idle(10)
    assert (sorted(numbers.done), numbers.back, numbers.limits[0]) == (list(range(8)), [], 3)


def test_what_no_thread_takes_in_time_is_given_back(numbers, monkeypatch):
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 0)
    numbers.poll()
    numbers._lay_ready(2)
    numbers.poll()
    assert numbers.back == [3, 4]


def test_more_than_one_is_fetched_at_once_only_while_pieces_are_short(numbers):
    numbers.let.set()
    assert numbers.timed(len, "abc") == 3
    assert numbers._take() == 0
    numbers._usual_seconds = 0.01
    assert numbers._take() == 1
    assert numbers.limits[:2] == [1, 10]


def test_a_slice_returns_its_last_results_without_those_that_are_not_worth_noting():
    numbers = Numbers(1, [12, 13, 14])
    numbers.let.set()
    assert numbers.go_on() == ["12", "14"]
    assert numbers.go_on(deadline=0.1) == []
    numbers.pool.shutdown()


def test_who_leaves_gives_back_what_was_fetched(numbers):
    numbers._lay_ready(2)
    numbers.stop.set()
    numbers.shut()
    assert (numbers.back, numbers.done) == ([0, 1], [])
