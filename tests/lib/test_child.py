"""The killable child keeps its promises against every kind of bad code."""

import os
import select
import socket
from pathlib import Path

import pytest

from app.lib import child

TARGET = Path(__file__).with_name("child_target.py")
LIMITS = child.Limits(wall_seconds=20, cpu_seconds=10, memory_bytes=200 << 20, file_bytes=4 << 20)


def call(function, limits=LIMITS, **request):
    return child.call(TARGET, function, request, limits)


def has_ended(pid):
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])  # readable once the process has ended
    finally:
        os.close(handle)


def test_it_returns_the_answer_and_not_the_chatter():
    assert call("double", number=21).value == 42


def test_an_exception_arrives_with_its_kind_code_and_message():
    with pytest.raises(child.ChildRaised) as caught:
        call("refuse")
    assert (caught.value.kind, caught.value.code, caught.value.message) == ("Refused", "too-blue", "no blue files")


def test_a_hang_is_killed_with_its_grandchildren(tmp_path):
    with pytest.raises(child.ChildTimeout):
        call("hang", child.Limits(wall_seconds=3), pid_file=str(tmp_path / "pid"))
    pid = int((tmp_path / "pid").read_text())
    assert has_ended(pid)


def test_an_endless_loop_meets_the_processor_limit():
    with pytest.raises(child.ChildTimeout, match="processor"):
        call("spin", child.Limits(wall_seconds=60, cpu_seconds=1))


def test_a_memory_hog_is_stopped():
    with pytest.raises(child.ChildOutOfMemory):
        call("swallow_memory")


def test_a_crash_is_told_from_an_answer():
    with pytest.raises(child.ChildCrashed):
        call("crash")


def test_an_answer_over_the_limit_is_refused():
    with pytest.raises(child.ChildCrashed, match="larger"):
        call("babble", child.Limits(answer_bytes=1_000_000))


def test_an_endless_file_is_stopped(tmp_path):
    with pytest.raises(child.ChildRaised, match="too large"):
        call("fill_disk", path=str(tmp_path / "big"))
    assert (tmp_path / "big").stat().st_size <= LIMITS.file_bytes


def test_the_child_sees_no_secret_no_privilege_and_not_the_product(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "shall-not-be-seen")
    seen = call("surroundings").value
    assert set(seen["environment"]) <= {*child.ENVIRONMENT, "LC_CTYPE"}
    assert seen["capabilities"] == 0
    assert seen["no_new_privileges"] == "1"
    assert not seen["knows_the_product"]


def test_the_child_reaches_no_address_or_says_that_it_can():
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = call("connect", port=server.getsockname()[1])
    assert answer.value == ("connected" if answer.has_network else "refused")
    assert os.geteuid() != 0 or not answer.has_network  # root can always make a namespace outside of containers
