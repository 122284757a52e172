"""What a program comes to, in memory: no database, no crashes, each step at once.

A program is a list of JSON objects, each with the verb that it `do`es, the `id` of the step and its number `n`, which no
other has. `programs.py` makes them and interprets them on the engine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RETRIES = 8
BIG = 300_000  # characters: over what is kept in the step's row


class StepFails(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class BodyFails(Exception):
    pass


@dataclass
class World:
    """All that is to have come of a program."""

    remembered: Callable[[int, str], Any]  # what run n drew at random
    runs: dict[int, tuple[str, Any, dict[str, Any]]] = field(default_factory=dict)  # n -> status, result, meta
    events: list[dict[str, Any]] = field(default_factory=list)
    rows: set[tuple[int, str]] = field(default_factory=set)  # (n, step key)
    calls: set[tuple[int, str]] = field(default_factory=set)  # outside the database


@dataclass
class Scope:
    """The ids that were met in a body or in a branch of it."""

    prefix: str = ""
    met: dict[str, int] = field(default_factory=dict)

    def key(self, id: str) -> str:  # noqa: A002
        repeat = self.met.get(id, 0)
        self.met[id] = repeat + 1
        return f"{self.prefix}{id}" + (f":{repeat}" if repeat else "")


class ModelRun:
    """One run: a body that is gone through again whenever it fails outside of steps."""

    def __init__(self, world: World, number: int, course: int) -> None:
        self.world, self.number, self.course = world, number, course
        self.memos: dict[str, Any] = {}
        self.taken: list[int] = []
        self.created = len(world.events)
        self.attempt = 1
        self.meta: dict[str, Any] = {}

    def end(self, program: list[dict[str, Any]]) -> tuple[str, Any]:
        while True:
            self.meta = {}
            try:
                ended = "completed", self.block(program, Scope())
            except StepFails as error:
                ended = "failed", error.key
            except BodyFails:
                self.attempt += 1
                if self.attempt <= RETRIES + 1:
                    continue
                ended = "failed", None
            if ended[0] == "failed":
                self.world.rows.add((self.number, "on-failure"))
            self.world.runs[self.number] = (*ended, self.meta)
            return ended

    def block(self, program, scope):
        return [getattr(self, node["do"])(node, scope) for node in program]

    def once(self, key, work):
        """Return what a step comes to, or raise its failure; both are remembered."""
        if key not in self.memos:
            try:
                self.memos[key] = (True, work())
            except StepFails:
                self.memos[key] = (False, None)
        succeeded, value = self.memos[key]
        if not succeeded:
            raise StepFails(key)
        return copy.deepcopy(value)

    def run(self, node, scope):
        key = scope.key(node["id"])

        def work():
            if node["how"] == "outside":
                self.world.calls.add((node["n"], key))
            if node["is_hopeless"]:
                raise StepFails(key)
            if node["how"] == "session":
                self.world.rows.add((node["n"], key))
            return value_of(node)

        value = self.once(key, work)
        for change in node["meta"]:
            self.change(change)
        return shown(value)

    transaction = run

    def change(self, change):
        verb, value = change
        if verb == "set":
            self.meta["set"] = value
        elif verb == "increment":
            self.meta["count"] = self.meta.get("count", 0) + value
        else:
            self.meta["list"] = [*self.meta.get("list", []), value]

    def meta_(self, node, _scope):
        self.change(node["change"])

    def sleep(self, node, scope):
        self.once(scope.key(node["id"]), lambda: None)

    def flaky(self, node, _scope):
        if self.attempt <= node["times"]:
            raise BodyFails
        return "steady"

    def send(self, node, scope):
        event = {"name": node["name"], "n": node["n"], "course": node["course"]}
        self.once(scope.key(node["id"]), lambda: self.world.events.append(event))

    def wait(self, node, scope):
        def work():
            if node["name"].startswith("outside/"):
                return node["n"]
            for position in range(self.created, len(self.world.events)):
                event = self.world.events[position]
                fits = event["name"] == node["name"] and (not node["match"] or event["course"] == self.course)
                if fits and position not in self.taken:
                    self.taken.append(position)
                    return event["n"]
            return None

        return self.once(scope.key(node["id"]), work)

    def invoke(self, node, scope):
        key = scope.key(node["id"])

        def work():
            status, value = ModelRun(self.world, node["n"], node["course"]).end(node["program"])
            if status == "failed":
                raise StepFails(key)
            return value

        return self.once(key, work)

    def map(self, node, scope):
        key = scope.key(node["id"])
        results, failures = [], []
        for number, program in enumerate(node["branches"]):
            try:
                results.append(self.block(program, Scope(f"{key}[{number}]/")))
            except (StepFails, BodyFails) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return results

    def parallel(self, node, scope):
        return self.map(node, scope)

    def attempt_(self, node, scope):
        try:
            return self.block(node["program"], scope)
        except StepFails as error:
            return {"failed": error.key}

    def choose(self, node, scope):
        drawn = self.world.remembered(self.number, scope.key("random"))
        return [drawn, self.block(node["less" if drawn < 0.5 else "more"], scope)]

    def now(self, _node, scope):
        key = scope.key("now")
        return self.world.remembered(self.number, key)


def shown(value: Any) -> Any:
    """Return what stands for a value in a result: a long text, for one, as its length."""
    return {"length": len(value)} if isinstance(value, str) and len(value) > 1000 else value


def value_of(node: dict[str, Any]) -> Any:
    """Return what a step returns."""
    return "B" * BIG if node["value"] == "big" else node["value"]
