"""Doing many pieces of work with help from a shared pool."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.lib.branching import do_all

said = contextvars.ContextVar("said", default="nothing")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made:
        yield lambda: made


def test_outcomes_are_in_the_order_of_the_work_and_failures_among_them(pool):
    found = do_all([lambda: 1, lambda: 1 / 0, lambda: 3], 3, pool)
    assert [outcome.value for outcome in found] == [1, None, 3]
    assert [type(outcome.error) for outcome in found] == [type(None), ZeroDivisionError, type(None)]


def test_nested_work_needs_no_thread_of_the_pool(pool):
    def nested():
        return [outcome.value for outcome in do_all([lambda: 1, lambda: 2], 2, pool)]

    assert [outcome.value for outcome in do_all([nested, nested, nested], 3, pool)] == [[1, 2]] * 3


def test_helpers_work_in_the_context_of_the_caller(pool):
    token = said.set("something")
    assert {outcome.value for outcome in do_all([said.get] * 8, 4, pool)} == {"something"}
    said.reset(token)
