"""A zygote forks a child for each order; children have limits, can be killed, and never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from app.lib.zygote import Zygote, how_ended
from tests.crash.processes import wait_until

WAIT = 20
MEGABYTE = 1 << 20


def work(order):
    """What the children of these tests can do."""
    match order:
        case "pid", path:
            path.write_text(str(os.getpid()))
        case "take", size:
            try:
                bytearray(size)
            except MemoryError:
                return 3
        case ("spin",):
            while True:
                pass
        case "spawn", path:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            path.write_text(str(child.pid))
            child.wait()
        case ("raise",):
            raise RuntimeError
        case "hang", path:
            path.write_text(str(os.getpid()))
            signal.pause()
        case "obey", path:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            path.write_text(str(os.getpid()))
            signal.pause()
        case number:
            return number
    return 0


@pytest.fixture
def zygote():
    made = Zygote(work, prepare=lambda: None)
    made.start()
    yield made
    made.close()


def pid_in(path):
    wait_until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def is_there(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_each_order_has_a_child_of_its_own_whose_exit_code_is_told(zygote, tmp_path):
    children = [zygote.fork(number) for number in range(5)]
    assert [child.wait(WAIT) for child in children] == [0, 1, 2, 3, 4]
    for name in "ab":
        assert zygote.fork(("pid", tmp_path / name)).wait(WAIT) == 0
    assert len({pid_in(tmp_path / "a"), pid_in(tmp_path / "b"), os.getpid(), zygote.pid}) == 4


def test_a_child_that_raises_ends_with_one(zygote):
    assert zygote.fork(("raise",)).wait(WAIT) == 1


def test_a_large_order_arrives(zygote):
    assert zygote.fork(("raise", "a long story" * MEGABYTE)).wait(WAIT) == 1  # it is no number


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits RLIMIT_DATA so")
def test_memory_is_limited_beyond_what_is_loaded(zygote):
    limit = 64 * MEGABYTE
    assert zygote.fork(("take", limit // 2), memory_bytes=limit).wait(WAIT) == 0
    assert zygote.fork(("take", limit * 2), memory_bytes=limit).wait(WAIT) == 3
    assert zygote.fork(("take", limit * 2)).wait(WAIT) == 0


def test_processor_time_is_limited(zygote):
    code = zygote.fork(("spin",), cpu_seconds=1).wait(WAIT)
    assert code == -signal.SIGXCPU
    assert "processor time" in how_ended(code)


def test_a_killed_child_takes_what_it_started_with_it(zygote, tmp_path):
    child = zygote.fork(("spawn", tmp_path / "pid"))
    grandchild = pid_in(tmp_path / "pid")
    assert child.wait(0) is None
    child.signal(signal.SIGKILL)
    assert child.wait(WAIT) == -signal.SIGKILL
    wait_until(lambda: not is_there(grandchild))
    child.signal(signal.SIGKILL)  # nobody is there any more; nothing happens


def test_children_end_with_their_zygote(tmp_path):
    zygote = Zygote(work, prepare=lambda: None)
    zygote.start()
    child = zygote.fork(("hang", tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    os.kill(zygote.pid, signal.SIGKILL)
    assert child.wait(WAIT) == -signal.SIGKILL
    wait_until(lambda: not is_there(pid))
    wait_until(lambda: not zygote.is_alive())
    assert zygote.fork(1).wait(WAIT) == -signal.SIGKILL  # told at once, not waited for
    zygote.close()


def test_closing_ends_every_child(tmp_path):
    zygote = Zygote(work, prepare=lambda: None)
    zygote.start()
    child = zygote.fork(("hang", tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    zygote.close()
    assert not is_there(zygote.pid)
    assert child.wait(WAIT) == -signal.SIGKILL
    wait_until(lambda: not is_there(pid))


def test_a_spare_child_that_dies_is_replaced(zygote):
    wait_until(lambda: psutil.Process(zygote.pid).children())
    [spare] = psutil.Process(zygote.pid).children()
    spare.kill()
    wait_until(lambda: not is_there(spare.pid))
    codes = [zygote.fork(number).wait(WAIT) for number in (7, 8)]
    assert codes[1] == 8
    assert codes[0] in (7, -signal.SIGKILL)  # it may be told of its spare's end only after the order


def test_a_child_that_is_overdue_for_longer_than_the_grace_is_killed(zygote, tmp_path):
    answers = iter([False, None, True])
    child = zygote.fork(("hang", tmp_path / "pid"))
    pid = pid_in(tmp_path / "pid")
    assert child.see_out(threading.Event(), lambda: next(answers, True), grace=0.0, every=0.01)
    assert child.wait(WAIT) == -signal.SIGKILL
    wait_until(lambda: not is_there(pid))


def test_a_child_is_asked_to_stop_when_its_watcher_is(zygote, tmp_path):
    child, stop = zygote.fork(("obey", tmp_path / "pid")), threading.Event()
    pid_in(tmp_path / "pid")
    stop.set()
    assert not child.see_out(stop, lambda: None, grace=0.0, every=0.01)
    assert child.wait(WAIT) == -signal.SIGTERM


def test_all_children_are_killed_at_once(zygote, tmp_path):
    children = [zygote.fork(("hang", tmp_path / name)) for name in "ab"]
    for name in "ab":
        pid_in(tmp_path / name)
    zygote.kill_children()
    assert [child.wait(WAIT) for child in children] == [-signal.SIGKILL] * 2
