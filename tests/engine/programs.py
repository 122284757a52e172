"""Random workflows: programs as data (see `model.py`), made by hypothesis and interpreted by one registered workflow."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa
from hypothesis import strategies as st

from app.engine import Context, NonRetriable, RetryAfter, Step, StepError, current, workflow
from app.engine.runtime import runtime
from tests.engine import chaos, model

IDS = st.sampled_from(["a", "b", "é"])
COURSES = st.sampled_from([7, 8])
VALUES = st.sampled_from([None, 0, "text\x00", [1, [None]], {"a": 1.5}, "big"])
CHANGES = st.tuples(st.sampled_from(["set", "increment", "append"]), st.integers(1, 3)).map(list)
SHARED = st.sampled_from(["shared/a", "shared/b"])
OUTSIDE = "outside/"


def node(do, **fields):
    return st.fixed_dictionaries({"do": st.just(do), "id": IDS, **{name: _strategy(of) for name, of in fields.items()}})


def _strategy(of):
    return of if isinstance(of, st.SearchStrategy) else st.just(of)


def _work(do, ways):
    return node(
        do,
        value=VALUES,
        how=st.sampled_from(ways),
        fails=st.sampled_from([0, 0, 0, 1, 2]),
        defers=st.sampled_from([0, 0, 0, 1]),
        is_hopeless=st.sampled_from([False, False, False, True]),
        is_fatal=st.booleans(),
        meta=st.lists(CHANGES, max_size=2),
    )


def _simple(is_alone):
    """Return the verbs without programs in them. Of what happens side by side, nothing may depend on its order."""
    names = SHARED if is_alone else st.just("told/x")
    waited = st.sampled_from(["shared/a", "shared/b", OUTSIDE, "never/x"] if is_alone else [OUTSIDE, "never/x"])
    return [
        _work("run", ["session", "outside", "plain"]),
        _work("transaction", ["session"]),
        node("meta_", change=CHANGES),
        node("sleep", seconds=st.sampled_from([0, 5, 3600])),
        node("flaky", times=st.sampled_from([0, 1, 2])),
        node("send", name=names, course=COURSES),
        node("wait", name=waited, match=st.booleans()),
        node("now"),
    ]


def blocks(depth, *, is_alone=True, most=4):
    """Return a strategy for programs that are nested at most `depth` deep."""
    verbs = _simple(is_alone)
    if depth:
        less, beside = blocks(depth - 1, is_alone=is_alone, most=3), blocks(depth - 1, is_alone=False, most=3)
        branches = {"branches": st.lists(beside, min_size=1, max_size=3), "limit": st.sampled_from([1, 1, 3])}
        verbs += [
            node("invoke", course=COURSES, program=less),
            node("map", **branches),
            node("parallel", **branches),
            node("attempt_", program=less),
            node("choose", less=less, more=less),
        ]
    return st.lists(st.one_of(verbs), min_size=1, max_size=most)


def programs(depth=2):
    """Return a strategy for numbered programs."""
    return blocks(depth).map(lambda program: counted(program, 1))


def counted(program, first):
    """Return the program with its nodes numbered from `first` on."""
    return numbered(program, itertools.count(first))


def numbered(program, numbers):
    """Return the program with numbers of its nodes, which are in the names of what comes for one of them only."""
    done = []
    for made in program:
        number = next(numbers)
        given = {**made, "n": number}
        if made.get("name") == OUTSIDE:
            given["name"] = f"{OUTSIDE}n{number}"
        for part in ("program", "less", "more"):
            if part in made:
                given[part] = numbered(made[part], numbers)
        if "branches" in made:
            given["branches"] = [numbered(branch, numbers) for branch in made["branches"]]
        done.append(given)
    return done


def waits_outside(program, run):
    """Yield (number of the run, number of the wait, course) for each event that is to come from outside."""
    course = run[1]
    for made in program:
        if made["do"] == "wait" and made["name"].startswith(OUTSIDE):
            yield run[0], made["n"], course
        inner = [made.get(part, []) for part in ("program", "less", "more")] + made.get("branches", [])
        below = (made["n"], made["course"]) if made["do"] == "invoke" else run
        for part in inner:
            yield from waits_outside(part, below)


class Place(NamedTuple):
    """Where in a run the interpreter is."""

    ctx: Context
    step: Step


class Interpreter:
    """The workflow that interprets programs on the engine, and what it has done outside of the database."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, str]] = []  # (n, step key, ctx.key)
        self.deferred: Counter[str] = Counter()

    def register(self) -> None:
        workflow("program", on="program/start", retries=model.RETRIES, backoff=(10,), on_failure=self.hook)(self.body)

    def hook(self, _ctx, outcome):
        write(outcome.run_id, outcome.event.data["n"], "on-failure")

    def body(self, ctx, step):
        return self.block(Place(ctx, step), ctx.event.data["program"])

    def block(self, at, program):
        return [getattr(self, made["do"])(at, made) for made in program]

    def _work(self, ctx, made):
        key = current.key()
        assert ctx.key.startswith(f"{ctx.run_id}/")
        if made["how"] == "outside":
            self.calls.append((made["n"], key, ctx.key))
        if made["how"] == "session":
            write(ctx.run_id, made["n"], key)
        for verb, value in made["meta"]:
            self._change(ctx, verb, value)
        chaos.point()
        if self.deferred[ctx.key] < made["defers"]:
            self.deferred[ctx.key] += 1
            raise RetryAfter(40)
        if made["is_hopeless"] or ctx.attempt <= made["fails"]:
            raise (NonRetriable if made["is_hopeless"] and made["is_fatal"] else RuntimeError)("planned")
        return model.value_of(made)

    def run(self, at, made):
        retries = 1 if made["is_hopeless"] else None
        return model.shown(at.step.run(made["id"], lambda: self._work(at.ctx, made), retries=retries))

    def transaction(self, at, made):
        retries = 1 if made["is_hopeless"] else None
        return model.shown(at.step.transaction(made["id"], lambda _: self._work(at.ctx, made), retries=retries))

    def _change(self, ctx, verb, value):
        key = {"set": "set", "increment": "count", "append": "list"}[verb]
        getattr(ctx.meta, verb)(key, value)

    def meta_(self, at, made):
        self._change(at.ctx, *made["change"])

    def sleep(self, at, made):
        at.step.sleep(made["id"], made["seconds"])

    def flaky(self, at, made):
        if at.ctx.attempt <= made["times"]:
            raise RuntimeError("planned")
        return "steady"

    def send(self, at, made):
        at.step.send_event(made["id"], made["name"], {"n": made["n"], "course": made["course"]})

    def wait(self, at, made):
        timeout = timedelta(days=80) if made["name"].startswith(OUTSIDE) else "20m"
        match = "data.course" if made["match"] else None
        event = at.step.wait_for_event(made["id"], ["never/y", made["name"]], match=match, timeout=timeout)
        return None if event is None else event.data["n"]

    def invoke(self, at, made):
        return at.step.invoke(made["id"], "program", {name: made[name] for name in ("n", "course", "program")})

    def map(self, at, made):
        return at.step.map(
            made["id"], lambda s, part: self.block(at._replace(step=s), part), made["branches"], limit=made["limit"]
        )

    def parallel(self, at, made):
        named = {
            str(n): lambda s, part=part: self.block(at._replace(step=s), part)
            for n, part in enumerate(made["branches"])
        }
        return list(at.step.parallel(made["id"], named, limit=made["limit"]).values())

    def attempt_(self, at, made):
        try:
            return self.block(at, made["program"])
        except StepError as error:
            return {"failed": error.step}

    def choose(self, at, made):
        drawn = at.ctx.random()
        return [drawn, self.block(at, made["less" if drawn < 0.5 else "more"])]

    def now(self, at, _made):
        return at.ctx.now().isoformat()


def write(run_id, site, key):
    """Write a row in the step's own transaction."""
    statement = sa.text("INSERT INTO effect (run_id, site, key) VALUES (:run_id, :site, :key)")
    runtime().ports.session.execute(statement, {"run_id": run_id, "site": site, "key": key})
