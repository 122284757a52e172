"""What is looked at once, what is written now and then, what is done in a rhythm, and what a deadlock costs."""

from __future__ import annotations

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from app.lib import deadlocks, rhythm
from app.lib.coalescing import Coalescer
from app.lib.latest import Latest
from app.lib.once import Once


def test_each_thing_is_looked_at_once_by_all_threads_together():
    looks, once = [], Once()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda n: once(n % 2, lambda: looks.append(n) or len(looks)), range(40)))
    assert (len(looks), found) == (2, {1, 2})


class Number(Latest):
    number = 0

    def say(self, number):
        with self._lock:
            self.number = number
            self._say()

    def _state(self):
        return self.number


def test_the_newest_state_is_taken_once_unless_it_is_put_back():
    state = Number()
    assert (state.take(), state.last()) == (None, None)
    state.put_back()
    assert state.take() is None
    state.say(1)
    state.say(2)
    assert (state.take(), state.take(), state.last()) == ("2", None, "2")
    state.put_back()
    assert state.take() == "2"


def test_a_state_on_its_way_to_an_older_one_is_not_taken():
    state = Number(is_said=True)
    state.is_caught_up = False
    state.say(1)
    assert (state.take(), state.last(is_whole=False), state.last()) == (None, None, "1")
    state.is_caught_up = True
    assert json.loads(state.take()) == 1


class Ticks:
    """A stop event that is set from the start, and whose waits take no time."""

    def __init__(self):
        self.now = 0.0

    def wait(self, seconds):
        self.now += seconds
        return True

    is_set = staticmethod(lambda: False)

    def monotonic(self):
        return self.now


def test_things_are_done_in_their_rhythm_and_order_whatever_one_of_them_raises(monkeypatch):
    ticks, did = Ticks(), []
    monkeypatch.setattr(rhythm, "time", ticks)

    def fail():
        did.append("fail")
        raise ValueError

    things = ((4.0, lambda: did.append("slow")), (2.0, fail), (0.0, lambda: did.append("fast")))
    wall = lambda: contextlib.suppress(ValueError)  # noqa: E731
    rhythm.keep_doing(things, ticks, tick=1.0, is_over=lambda: ticks.now > 8, wall=wall)
    assert did == ["slow", "fail", "fast", "fail", "fast", "slow", "fail", "fast", "fail", "fast"]


@pytest.fixture
def connection(app):
    from app.db import db

    positional, named = db.engine.dialect.create_connect_args(db.engine.url)
    with psycopg.connect(*positional, **named) as made:
        made.execute("CREATE TEMPORARY TABLE kept (number int)")
        yield made
        made.rollback()


def failing(times):
    """Return work that meets a deadlock so many times."""
    tries = []

    def work():
        tries.append(1)
        if len(tries) <= times:
            raise psycopg.errors.DeadlockDetected
        return len(tries)

    return work


def test_the_first_deadlock_is_forgiven_and_the_second_is_not():
    assert deadlocks.repeating(failing(1)) == 2
    with pytest.raises(psycopg.errors.DeadlockDetected):
        deadlocks.repeating(failing(2))


def test_a_deadlock_inside_a_transaction_costs_only_what_was_done_there(connection):
    work = failing(1)

    def insert():
        connection.execute("INSERT INTO kept VALUES (2)")
        return work()

    connection.execute("INSERT INTO kept VALUES (1)")
    assert deadlocks.repeating_inside(connection, insert) == 2
    assert connection.execute("SELECT number FROM kept ORDER BY number").fetchall() == [(1,), (2,)]


def test_what_gathers_while_something_is_done_is_done_together_and_the_rest_at_the_end():
    batches, began, release = [], threading.Event(), threading.Event()

    def work(things):
        batches.append(list(things))
        began.set()
        release.wait(10)

    coalescer = Coalescer("test", work)
    coalescer.add(["a"])
    assert began.wait(10)
    coalescer.add(["c", "b"])
    coalescer.add(["b"])
    release.set()
    coalescer.close()
    assert batches == [["a"], ["b", "c"]]
