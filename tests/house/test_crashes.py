"""What crashes is started again and said; what a killed supervisor leaves is gone or found."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.embedded import children
from app.embedded.errors import CannotStart
from app.embedded.parts import Program
from app.embedded.signals import Signals, Stop
from app.embedded.supervisor import QUICK_ENDINGS, Supervisor

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.timeout(180), pytest.mark.crash]


@pytest.mark.parametrize(
    ("words", "name"), [("gunicorn", "web server"), ("redis-server", "Redis"), ("pgdata", "database")]
)
def test_a_part_that_is_killed_is_started_again_and_said(running, words, name):
    del running.lines[:]
    running.part(words).kill()
    running.wait_for(f"The {name} crashed (killed by SIGKILL); starting it again.")
    _until(lambda: running.get("/healthz")[0] == 200 and running.get("/readyz")[0] == 200)
    assert running.part(words).is_running()


def test_when_the_supervisor_is_killed_its_children_end_by_themselves(fresh):
    fresh.start().wait_until_ready()
    processes = fresh.processes()
    fresh.process.kill()
    fresh.process.wait()
    _, alive = psutil.wait_procs(processes, 45)
    assert not alive


def test_the_start_after_a_crash_finds_what_would_not_die(fresh):
    fresh.start().wait_until_ready()
    web = fresh.part("gunicorn")
    web.suspend()  # it cannot hear its death signal
    fresh.process.kill()
    fresh.process.wait()
    fresh.start()
    fresh.wait_for(f"Process {web.pid} was left by a start that ended badly; stopping it.")
    fresh.wait_until_ready()
    assert not web.is_running()
    assert fresh.get("/healthz")[0] == 200


@pytest.fixture
def supervisor():
    """A supervisor of our own process, with what it says."""
    before = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    }
    said: list[str] = []
    made = Supervisor(Signals(), said.append, lambda _parts: None)
    made.said = said
    yield made
    made.stop()
    made.signals.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def _program(code: str, **more) -> Program:
    return Program("worker", [sys.executable, "-c", code], cwd=ROOT, env={}, **more)


def test_a_part_that_always_crashes_at_once_is_given_up_with_a_sentence(supervisor, monkeypatch):
    monkeypatch.setattr("app.embedded.supervisor.LONGEST_PAUSE_SECONDS", 0.01)
    supervisor.start(_program("raise SystemExit(3)"))
    with pytest.raises(CannotStart, match=f"The worker crashed {QUICK_ENDINGS} times right after its start"):
        supervisor.watch()
    assert supervisor.said == ["The worker crashed (ended with status 3); starting it again."] * (QUICK_ENDINGS - 1)


def test_a_part_that_cannot_start_again_at_first_is_tried_again(supervisor, monkeypatch):
    part = _program("import signal; signal.pause()")
    start, refusals = part.start, ["The disk is full.", "The disk is still full."]

    def refuse_at_first():
        if refusals:
            raise CannotStart(refusals.pop(0))
        start()

    supervisor.start(part)
    monkeypatch.setattr(part, "start", refuse_at_first)
    monkeypatch.setattr("app.embedded.supervisor.LONGEST_PAUSE_SECONDS", 0.01)
    psutil.Process(part.pid()).kill()

    def is_up():
        supervisor.look()
        return not refusals and part.pid() is not None

    _until(is_up)
    assert supervisor.said == [
        "The worker crashed (killed by SIGKILL); starting it again.",
        "The worker did not start (The disk is full); starting it again.",
        "The worker did not start (The disk is still full); starting it again.",
    ]


def test_a_part_that_ignores_the_request_to_stop_is_killed_with_all_it_started(supervisor):
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.run([sys.executable, '-c', 'import signal; signal.pause()'])"
    )
    part = _program(code, grace_seconds=0.2)
    supervisor.start(part)
    top = psutil.Process(part.pid())
    _until(lambda: len(top.children()) == 1 and len(top.children()[0].cmdline()) == 3)
    processes = [top, *top.children()]
    supervisor.stop()
    _, alive = psutil.wait_procs(processes, 5)
    assert not alive
    assert "did not stop in time" in supervisor.said[0]


def test_whoever_is_in_a_hurry_need_not_wait_for_a_part(supervisor):
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.run([sys.executable, '-c', 'import signal; signal.pause()'])"
    )
    part = _program(code, grace_seconds=600)
    supervisor.start(part)
    process = psutil.Process(part.pid())
    _until(process.children)  # by then it ignores the request
    looked = []
    assert part.stop(lambda: len(looked) == 3 or looked.append(process.is_running()) is not None) is False
    assert looked == [True, True, True]
    assert not process.is_running()


def test_a_request_to_stop_ends_the_watch(supervisor):
    supervisor.start(_program("import signal; signal.pause()"))
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stop):
        supervisor.watch()


def test_a_process_number_that_somebody_else_got_is_left_alone():
    own = psutil.Process()
    assert children.find(own.pid, name="postgres", cwd=Path.cwd()) is None
    assert children.find(own.pid, name=own.name(), cwd=Path("/")) is None
    assert children.find(own.pid, name=own.name(), cwd=Path.cwd()) == own


def _until(is_so, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except (OSError, psutil.Error):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
