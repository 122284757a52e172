"""Triggers, priority, timeouts, cancel_on; and which options are refused, alone or together."""

from __future__ import annotations

import pytest
from structlog.testing import CapturingLogger

from app.db import db
from app.engine import (
    CancelOn,
    Concurrency,
    Debounce,
    On,
    RateLimit,
    RegistrationError,
    Singleton,
    Throttle,
    Timeouts,
    advance,
    list_runs,
    send,
    upkeep,
    workflow,
)
from app.engine import registry as registries
from app.engine.registry import registry
from app.engine.testing import clock, drain
from app.lib.expressions import fingerprint, matching
from app.lib.ids import new_id


def register(name="some", on="test/some", **options):
    @workflow(name, on=on, **options)
    def function(ctx, step):
        step.run("work", lambda: None)


@pytest.fixture
def warnings(monkeypatch):
    log = CapturingLogger()
    monkeypatch.setattr(registries, "logger", log)
    return lambda: [(call.method_name, *call.args, call.kwargs["workflow"]) for call in log.calls]


def claimed():
    """Claim one run after the other; returns them in this order."""
    found = []
    while one := advance.claim_batch("mine", 1):
        found.append(one[0][0])
    return found


def start(name="test/some", owner=None, **data):
    send(name, data, owner_id=owner)
    db.session.commit()


def names():
    return {run.workflow for run in list_runs(limit=500)}


def test_a_name_a_list_a_prefix_and_a_star_start_runs():
    register("one", on="video/ready")
    register("list", on=["video/ready", On("video/lost")])
    register("prefix", on="video/*")
    register("star", on="*")
    register("other", on="audio/*")
    register("invoked", on=())
    start("video/ready")
    assert names() == {"one", "list", "prefix", "star"}
    start("video/lost")
    assert len(list_runs(workflow="list")) == 2


def test_a_star_never_matches_the_engines_own_events():
    register("star", on="*")
    start()
    drain()
    assert len(list_runs()) == 1


def test_a_condition_decides_whether_an_event_starts_a_run():
    register(on=On("test/some", if_="event.data.minutes > 1"))
    for minutes in (1, 2):
        start(minutes=minutes)
    assert [run.input["minutes"] for run in list_runs()] == [2]


def test_a_condition_that_cannot_be_evaluated_is_no_match_and_is_logged_once_with_the_workflows_name(warnings):
    register(on=On("test/some", if_="event.data.minutes > 1"))
    register("other")
    start(minutes="many")
    assert names() == {"other"}
    assert warnings() == [("warning", "expression.failed", "some")]


def test_priority_is_seconds_of_queue_advance():
    register(priority="event.data.ahead")
    for ahead in (0, 60, -60, 10_000, 601):
        start(ahead=ahead)
    order = [run.event_id for run in claimed()]
    ahead = {run.event_id: run.input["ahead"] for run in list_runs()}
    assert [ahead[event] for event in order] == [10_000, 601, 60, 0, -60]  # more than 600 is 600


def test_a_priority_may_be_a_number_and_a_throttled_run_keeps_it():
    register("urgent", throttle=Throttle(1, "1m"), priority=120)
    register("usual")
    start()
    drain()
    start()
    clock.advance(61)
    upkeep.run_pass()
    start()
    assert [run.workflow for run in claimed()] == ["urgent", "usual", "usual"]


@pytest.mark.parametrize("value", ["high", None, True, [1]])
def test_a_priority_that_is_no_number_counts_as_none_with_a_warning(value, execute, warnings):
    register(priority="event.data.ahead")
    start(ahead=value)
    assert warnings() == [("warning", "priority.invalid", "some")]
    assert execute("SELECT sort_at = created_at FROM run").scalar()


def test_timeouts_set_the_deadline_of_the_start_and_then_that_of_the_end(execute):
    register(timeouts=Timeouts(start="10m", finish="2h"))
    start()
    seconds = "SELECT round(extract(epoch FROM deadline_at - {})) FROM run"
    assert execute(seconds.format("created_at")).scalar() == 600
    clock.advance(60)
    advance.claim_batch("mine", 1)
    assert execute(seconds.format("started_at")).scalar() == 7200
    clock.advance(31)
    upkeep.run_pass()  # its lease is over
    advance.claim_batch("mine", 1)
    assert execute(seconds.format("started_at")).scalar() == 7200  # the second claim changes nothing


def test_the_deadline_of_a_start_is_gone_once_the_run_has_started(execute):
    register(timeouts=Timeouts(start="10m"))
    start()
    advance.claim_batch("mine", 1)
    assert execute("SELECT deadline_at FROM run").scalar() is None


def waits(execute):
    query = (
        "SELECT key, topic, kind, status, match_path, match_value, condition, since, scanned_at FROM wait ORDER BY key"
    )
    return execute(query).all()


def test_cancel_on_is_written_as_waits_of_the_run(execute):
    endings = [CancelOn("course/deleted", match="data.course_id"), CancelOn("course/closed", if_="arriving.data.now")]
    register(cancel_on=endings)
    owner = new_id()
    start(owner=owner, course_id=7)
    created = list_runs()[0].created_at
    assert waits(execute) == [
        ("cancel:0", f"{owner}:course/deleted", "cancel", "open", ["course_id"], fingerprint(7), None, created, None),
        ("cancel:1", f"{owner}:course/closed", "cancel", "open", None, None, "arriving.data.now", created, None),
    ]


def test_an_event_with_nothing_to_match_is_never_cancelled_by_what_has_nothing_there_either(execute):
    register(cancel_on=[CancelOn("course/deleted", match="data.course_id")])
    start()
    assert waits(execute) == []


def test_the_waits_of_a_debounced_run_are_those_of_its_last_event(execute):
    register(debounce=Debounce("1m"), cancel_on=[CancelOn("course/deleted", match="data.course_id")])
    start(course_id="a")
    clock.advance(10)
    start(course_id="b")
    [wait] = waits(execute)
    assert wait.match_value == fingerprint("b")
    assert 9 < (wait.since - list_runs()[0].created_at).total_seconds() < 15


def test_what_is_matched_is_one_text_whatever_its_type():
    assert matching("data.id", {"id": True})[1] == fingerprint("true")
    assert len(matching("data.id", {"id": "x" * 10_000})[1]) == 32
    assert matching("data.id", {})[1] is None


def test_a_key_that_cannot_be_evaluated_starts_the_run_under_the_common_key():
    register(
        concurrency=[Concurrency(1, key="event.data.n + 1")], idempotency="event.data.n + 1", subject="n:{event.data.n}"
    )
    start(n="x")
    [run] = list_runs()
    assert (run.status, run.subject) == ("queued", "n:x")


REFUSED = {
    "debounce and rate_limit exclude each other": {"debounce": Debounce("1m"), "rate_limit": RateLimit(1, "1m")},
    "debounce and throttle exclude each other": {"debounce": Debounce("1m"), "throttle": Throttle(1, "1m")},
    "debounce and singleton exclude each other": {"debounce": Debounce("1m"), "singleton": Singleton(mode="cancel")},
    "debounce and idempotency exclude each other": {"debounce": Debounce("1m"), "idempotency": "event.data.id"},
    "debounce.timeout must not be shorter than debounce.period": {"debounce": Debounce("1m", timeout="59s")},
    "timeouts.start must be longer than debounce.period": {
        "debounce": Debounce("1m"),
        "timeouts": Timeouts(start="1m"),
    },
    "cron and debounce exclude each other": {"cron": "0 9 * * *", "debounce": Debounce("1m")},
    "cron and idempotency exclude each other": {"cron": "0 9 * * *", "idempotency": "event.data.id"},
    "cron and a match of cancel_on exclude": {"cron": "0 9 * * *", "cancel_on": [CancelOn("a/b", match="data.id")]},
    "'61 9 \\* \\* \\*' is no cron expression: '61' is no minute; write 0-59": {"cron": "61 9 * * *"},
    "'0 9 \\* \\*' must have five fields": {"cron": "0 9 * *"},
    "'Europe/Nowhere' is no time zone": {"cron": "TZ=Europe/Nowhere 0 9 * * *"},
    "'Europe' is no time zone": {"cron": "TZ=Europe 0 9 * * *"},
    "throttle.limit must be a whole number from 1 to 2147483647, not 0": {"throttle": Throttle(0, "1m")},
    "throttle.burst must be a whole number from 1 to 2147483647, not 0": {"throttle": Throttle(1, "1m", burst=0)},
    "'soon' is no duration": {"rate_limit": RateLimit(1, "soon")},
    "debounce.period must be a duration like .* longer than nothing, not 0": {"debounce": Debounce(0)},
    "'-1s' is no duration": {"timeouts": Timeouts(finish="-1s")},
    "singleton.mode must be 'skip' or 'cancel', not 'stop'": {"singleton": Singleton(mode="stop")},
    "cancel_on.event must be the name of one event, .*, not 'video/\\*'": {"cancel_on": [CancelOn("video/*")]},
    "cancel_on.match: match='data\\[0\\]' is no path": {"cancel_on": [CancelOn("a/b", match="data[0]")]},
    "uses data; there is only event": {"throttle": Throttle(1, "1m", key="data.id")},
    "uses arriving; there is only event": {"on": On("a/b", if_="arriving.data.id")},
    "uses other; there is only event and arriving": {"cancel_on": [CancelOn("a/b", if_="other.data.id")]},
    "uses Call, which expressions do not have": {"priority": "int(event.data.n)"},
    "on.event must be like 'video/uploaded', .*, not 'video/\\*/x'": {"on": "video/*/x"},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_illegal_combinations_are_refused_at_registration(sentence):
    with pytest.raises(RegistrationError, match=f"^Workflow 'some': .*{sentence}"):
        register(**REFUSED[sentence])
    assert registry.names() == []


def test_what_may_stand_together_is_registered():
    register(
        on=[On("video/*", if_="event.data.minutes > 1"), "*"],
        throttle=Throttle(1, "1m", burst=3),
        rate_limit=RateLimit(5, 3600),
        singleton=Singleton(),
        priority=-60,
        idempotency="event.owner_id + event.data.id",
        cancel_on=[CancelOn("course/deleted", match="data.id", if_="arriving.data.id != event.id")],
        timeouts=Timeouts(start="1d", finish="1w"),
        isolated=True,
    )
    register("nightly", on=(), cron="TZ=Europe/Berlin 30 3 * * MON-FRI", cancel_on=[CancelOn("a/b")])
    assert registry.by_name["nightly"].cron == "TZ=Europe/Berlin 30 3 * * MON-FRI"


def test_a_run_records_the_version_of_its_workflow():
    for version in (1, 2):
        registry.by_name.pop("versioned", None)

        @workflow("versioned", on="test/versioned", version=version)
        def versioned(ctx, step):
            step.sleep("nap", "1h")

        send("test/versioned", {}, owner_id=None)
        drain()
    assert sorted(run.version for run in list_runs(workflow="versioned")) == [1, 2]
