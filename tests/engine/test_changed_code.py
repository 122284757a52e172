"""A deploy while runs are under way: where steps stand when their body has changed."""

from __future__ import annotations

import pytest
import structlog

from app.engine import list_steps, rerun_from, workflow
from app.engine import steps as verbs
from app.engine.testing import drain, run_workflow


@pytest.fixture
def deployed(monkeypatch):
    """A run of two steps that fails; then its code changes, twice over. Returns what was called, and the warnings."""

    def run(*bodies):
        passes, ran = list(bodies), []
        monkeypatch.setattr(verbs, "logger", log := structlog.testing.CapturingLogger())

        @workflow("deployed", on="test/deployed", backoff=(1,))
        def deployed(ctx, step):
            def enter(s, piece):
                for name in piece:
                    s.run(name, ran.append, name)

            for name in passes.pop(0) if passes else bodies[-1]:
                if isinstance(name, str):
                    step.run(name, ran.append, name)
                else:
                    step.map("part", enter, name)
            step.run("fail", lambda: 1 // (ctx.attempt // len(bodies)))

        return run_workflow(deployed, {}), ran, [call.kwargs["step"] for call in log.calls]

    return run


def keys_of(run):
    return [step.key for step in list_steps(run.id)]


def test_new_steps_in_front_of_remembered_ones_are_no_reordering(deployed):
    run, ran, warned = deployed(["a", "b"], ["x", "y", "a", "z", "b"], ["x", "y", "a", "z", "b"])
    assert (run.status, ran, warned) == ("completed", ["a", "b", "x", "y", "z"], [])
    assert keys_of(run) == ["x", "y", "a", "z", "b", "fail"]


def test_a_rerun_after_a_deploy_copies_what_stands_before_the_step_in_the_new_code(deployed):
    run, ran, _ = deployed(["a", "b"], ["x", "y", "a", "z", "b"])
    for key, kept in {"x": "", "y": "x", "a": "xy", "z": "xya", "b": "xyaz"}.items():
        ran.clear()
        rerun_from(run.id, key)
        drain(advance=True)
        assert ran == [name for name in "xyazb" if name not in kept]


def test_new_steps_in_front_of_a_removed_one_and_behind_it_are_no_reordering(deployed):
    run, ran, warned = deployed(["a", "b", "c"], ["c", "x", "y"], ["c", "x", "y"])
    assert (ran, warned, keys_of(run)) == (["a", "b", "c", "x", "y"], [], ["a", "b", "c", "x", "y", "fail"])


def test_a_reordering_beside_new_steps_is_warned_about(deployed):
    assert deployed(["a", "b"], ["x", "y", "b", "a"])[2] == ["a"]


def test_new_steps_in_front_of_branches_are_no_reordering_and_the_branches_stay_where_they_are(deployed):
    old, new = [["p"], ["p"]], [["p", "q"], ["o", "p"]]
    run, ran, warned = deployed(["a", old, "b"], ["x", "y", "a", "z", new, "b"], ["x", "y", "a", "z", new, "b"])
    assert (run.status, sorted(ran), warned) == ("completed", sorted("abxyzppqo"), [])
    branches = ["part[0]/p", "part[0]/q", "part[1]/o", "part[1]/p"]
    assert keys_of(run) == ["x", "y", "a", "z", *branches, "b", "fail"]
    ran.clear()
    rerun_from(run.id, "part[0]/q")
    drain(advance=True)
    assert ran == ["q", "b"]
