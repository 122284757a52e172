"""Options that could not work, of a wrong kind or beyond all bounds: each is refused with what to write instead."""

from __future__ import annotations

import functools
from datetime import timedelta

import pytest

from app.engine import (
    CancelOn,
    Concurrency,
    Debounce,
    EngineError,
    Isolated,
    On,
    RateLimit,
    RegistrationError,
    Singleton,
    Throttle,
    Timeouts,
    send,
    workflow,
)
from app.engine.registry import registry
from app.engine.testing import isolated_registry

REFUSED = [
    ({"backoff": (float("inf"),)}, "backoff must be a list of seconds, each above 0 and at most ten years"),
    ({"backoff": (15.0, float("nan"))}, "backoff must be a list of seconds"),
    ({"backoff": (1e12,)}, "backoff must be a list of seconds"),
    ({"backoff": ()}, "backoff must be a list of seconds"),
    ({"backoff": "exponential"}, "backoff must be a list of seconds, .*, not 'exponential'"),
    ({"backoff": 5}, "backoff must be a list of seconds, .*, not 5"),
    ({"cron": "0 9 * * *", "jitter": float("inf")}, "jitter must be seconds, from 0 to ten years, not inf"),
    ({"cron": "0 9 * * *", "jitter": "5m"}, "jitter must be seconds, from 0 to ten years, not '5m'"),
    ({"jitter": 5}, "jitter puts off the starts of cron; add cron=, or leave jitter out"),
    ({"cron": 5}, "cron must be five fields that are due some time"),
    ({"version": "v2"}, "version must be a whole number from 0 to 2147483647, not 'v2'"),
    ({"version": 10**12}, "version must be a whole number from 0 to 2147483647, not 1000000000000"),
    ({"version": True}, "version must be a whole number"),
    ({"retries": 1.5}, "retries must be a whole number from 0 to 20, not 1.5"),
    ({"retries": "3"}, "retries must be a whole number from 0 to 20, not '3'"),
    ({"retries": -1}, "retries must be a whole number from 0 to 20, not -1"),
    ({"concurrency": 5}, r"concurrency must be a list of at most 2 Concurrency\(\.\.\.\), not 5"),
    (
        {"concurrency": Concurrency(1)},
        r"concurrency must be a list of at most 2 Concurrency\(\.\.\.\), not Concurrency",
    ),
    ({"concurrency": {"limit": 5}}, r"concurrency must be a list of at most 2 Concurrency\(\.\.\.\)"),
    ({"concurrency": [5]}, r"concurrency must be a list of at most 2 Concurrency\(\.\.\.\)"),
    ({"concurrency": [Concurrency(float("inf"))]}, "concurrency.limit must be a whole number from 1 to"),
    ({"concurrency": [Concurrency(1, key=5)]}, "concurrency.key must be a text with an expression over event, not 5"),
    ({"throttle": 5}, r"throttle must be Throttle\(\.\.\.\), not 5"),
    ({"throttle": Throttle("1", "1m")}, "throttle.limit must be a whole number"),
    ({"rate_limit": RateLimit(1, None)}, "rate_limit.period must be a duration like '90s'"),
    ({"rate_limit": Throttle(1, "1m")}, r"rate_limit must be RateLimit\(\.\.\.\)"),
    ({"debounce": Debounce("1m", timeout=[])}, "debounce.timeout must be a duration like '90s'"),
    ({"singleton": True}, r"singleton must be Singleton\(\.\.\.\), not True"),
    ({"singleton": Singleton(mode="wait")}, "singleton.mode must be 'skip' or 'cancel', not 'wait'"),
    ({"timeouts": "2h"}, r"timeouts must be Timeouts\(\.\.\.\), not '2h'"),
    ({"timeouts": None}, r"timeouts must be Timeouts\(\.\.\.\), not None"),
    ({"cancel_on": "a/c"}, r"cancel_on must be a list of CancelOn\(\.\.\.\), not 'a/c'"),
    ({"cancel_on": CancelOn("a/c")}, r"cancel_on must be a list of CancelOn\(\.\.\.\)"),
    ({"cancel_on": [CancelOn("order")]}, "cancel_on.event must be the name of one event, like 'video/deleted'"),
    ({"cancel_on": [CancelOn("a/c", match="course_id")]}, "cancel_on.match: .* write it like data.course_id"),
    ({"isolated": "yes"}, r"isolated must be Isolated\(\.\.\.\) or True or False, not 'yes'"),
    ({"isolated": Isolated(memory_bytes=1e9)}, "isolated.memory_bytes must be a whole number"),
    ({"on": 5}, r"on must be the name of an event, On\(\.\.\.\), or a list of these, not 5"),
    ({"on": ["a/b", 5]}, r"on must be the name of an event, On\(\.\.\.\), or a list of these"),
    ({"on": "order"}, "on.event must be like 'video/uploaded', 'video/\\*' or '\\*'"),
    ({"on": "order.placed"}, "on.event must be like 'video/uploaded'"),
    ({"on": ""}, "on.event must be like 'video/uploaded'"),
    ({"on": On("a/b", if_=5)}, "on.if_ must be a text with an expression over event, not 5"),
    ({"on": "engine/x"}, "on.event must be like .*of the engine's own there are run/completed"),
    ({"on": "schedule/due"}, "on.event must be like .*of the engine's own there are run/completed"),
    ({"on": "run/*"}, "on.event must be like .*of the engine's own there are run/completed"),
    ({"on": "run/finished"}, "on.event must be like .*of the engine's own there are run/completed"),
    ({"priority": float("nan")}, "priority must be a number or a text with an expression over event, not nan"),
    ({"priority": "int(event.data.n)"}, "priority: .* uses Call, which expressions do not have"),
    ({"subject": 5}, "subject must be a text with an expression over event, not 5"),
    ({"subject": "video:{data.id}"}, "subject: 'data.id' uses data; there is only event"),
    ({"idempotency": "event.data.a && event.data.b"}, "idempotency: .* write `and` for `&&`"),
    ({"on_failure": "mark_failed"}, r"on_failure must be a function of \(ctx, outcome\)"),
    ({"on_failure": lambda _ctx: None}, r"on_failure must be a function of \(ctx, outcome\)"),
    ({"name": "Two Words"}, "name must be lower case words joined by hyphens, not 'Two Words'"),
    ({"name": 5}, "name must be lower case words joined by hyphens, not 5"),
]


def register(function=lambda _ctx, _step: None, *, name="w", on="test/w", **options):
    return workflow(name, on=on, **options)(function)


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_an_option_that_cannot_work_is_refused_with_what_to_write(options, sentence):
    with pytest.raises(RegistrationError, match=f"^Workflow .*: {sentence}"):
        register(**options)
    assert registry.names() == []


@pytest.mark.parametrize(
    "options",
    [
        {"on": ["run/failed", On("a/*"), "*", "a.b/c_d/e-f"]},
        {"cancel_on": (CancelOn("run/completed"),)},
        {"backoff": [timedelta(seconds=1).total_seconds(), 2]},
        {"throttle": Throttle(1, timedelta(minutes=1))},
        {"timeouts": Timeouts(start=90.5)},
        {"priority": 1.5},
        {"subject": "no hole, but braces: {event.data.a} {{"},
        {"cron": "0 9 * * *", "jitter": 0},
    ],
)
def test_an_option_that_is_well_written_is_taken(options):
    register(**options)
    assert registry.names() == ["w"]


async def awaited(ctx, outcome):
    """Never be awaited: its run would show as completed."""


async def awaited_generator(ctx, outcome):
    yield


def generator(ctx, outcome):
    yield


class Awaited:
    async def __call__(self, ctx, outcome):
        """Be as little awaited."""


NEVER_RUN = [awaited, awaited_generator, generator, Awaited(), functools.partial(awaited, 1)]


@pytest.mark.parametrize("function", NEVER_RUN, ids=["async", "async yield", "yield", "async call", "partial"])
def test_what_nobody_would_wait_for_is_refused_as_body_and_as_on_failure(function):
    with pytest.raises(RegistrationError, match=r"on_failure must be .* without `async` and `yield`"):
        register(on_failure=function)
    with pytest.raises(RegistrationError, match=r"function must be a function of \(ctx, step\)"):
        register(function)
    assert registry.names() == []


@pytest.mark.parametrize(
    "function", [lambda: None, lambda _ctx: None, lambda _ctx, _step, _more: None], ids=["0", "1", "3"]
)
def test_a_body_with_another_number_of_arguments_is_refused(function):
    with pytest.raises(RegistrationError, match=r"function must be a function of \(ctx, step\)"):
        register(function)


def test_a_body_may_be_wrapped_by_what_gives_it_more_arguments():
    def body(ctx, step, person):
        """Take what its wrapper adds."""

    @functools.wraps(body)
    def wrapper(ctx, step):
        return body(ctx, step, "ann")

    for number, function in enumerate((wrapper, functools.partial(body, person="ann"), bool)):
        register(function, name=f"w-{number}")
    assert len(registry.names()) == 3


def test_workflow_without_parentheses_says_to_write_them():
    with pytest.raises(RegistrationError, match=r'Write @workflow\("name", ...\)'):

        @workflow
        def body(ctx, step):
            """Be registered under no name."""


def test_workflow_with_empty_parentheses_says_what_to_write():
    with pytest.raises(RegistrationError, match=r'Write @workflow\("name", ...\)'):
        workflow()


def test_a_workflow_whose_hook_cannot_be_registered_is_not_registered_either():
    register(name="w-failed")
    with pytest.raises(RegistrationError, match="Two workflows are called 'w-failed'"):
        register(on_failure=lambda _ctx, _outcome: None)
    assert registry.names() == ["w-failed"]


def test_a_name_that_is_taken_by_a_function_called_alike_is_refused():
    def one(ctx, step):
        """Be of one module."""

    def other(ctx, step):
        """Be of another module, where it has the same name."""

    for function, module in ((one, "one"), (other, "other")):
        function.__module__, function.__qualname__ = module, "run"
    register(one)
    register(one)  # its module is read again
    with pytest.raises(RegistrationError, match=r"Two workflows are called 'w', one\.run and other\.run; give one"):
        register(other)


def test_a_name_that_is_taken_by_a_partial_is_refused_in_words():
    register(functools.partial(print, 1))
    with pytest.raises(RegistrationError, match="Two workflows are called 'w'"):
        register(functools.partial(print, 2))


NAMES = (
    "a/b a a/ /a a//b A/b a/B a.b/c -a/b 1/2 a/* a/*/b run/x run/completed schedule/due engine/x workflow/x running/x"
)


@pytest.mark.parametrize("name", NAMES.split())
def test_a_name_starts_runs_where_it_can_be_sent_or_is_an_ending(name):
    def is_taken(act):
        try:
            act()
        except EngineError:
            return False
        return True

    with isolated_registry():
        is_registered = is_taken(lambda: register(on=name))
    assert is_registered == (is_taken(lambda: send(name, {}, owner_id=None)) or name in ("run/completed", "a/*"))
    with isolated_registry():
        assert is_taken(lambda: register(cancel_on=[CancelOn(name)])) == (is_registered and name != "a/*")
