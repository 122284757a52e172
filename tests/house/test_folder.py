"""The data folder: locked, checked, and never a traceback when it cannot be used."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from app.embedded import accounts, binaries
from app.embedded.errors import CannotStart
from app.embedded.folder import DataFolder
from app.embedded.postgres import Postgres
from app.embedded.sockets import socket_folder
from app.embedded.up import free_port, listen

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Only root runs services under another account, or mounts.")


class Usage(NamedTuple):
    """As shutil.disk_usage answers."""

    total: int
    used: int
    free: int


def test_the_lock_is_given_back(tmp_path):
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.open()
    assert second.is_locked()
    with pytest.raises(CannotStart, match=rf"already running on .* .process {os.getpid()}."):
        second.open()
    first.close()
    second.open()
    second.close()
    assert not first.is_locked()


def test_a_nearly_full_disk_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(CannotStart, match=r"Only 5 MB are free on the disk .* Free some space"):
        DataFolder(tmp_path).open()


def test_a_write_that_finds_the_disk_full_is_a_sentence(tmp_path, monkeypatch):
    def full(*_args: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("secrets.token_urlsafe", full)
    with pytest.raises(CannotStart, match=r"The disk that holds .* is full\. Free some space"):
        DataFolder(tmp_path).open()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="cannot be used"):
        DataFolder(tmp_path / "file" / "data").open()


@needs_root
def test_a_disk_that_fills_up_while_the_database_is_made_is_a_sentence():
    disk = Path(tempfile.mkdtemp(prefix="tl-disk-", dir="/tmp"))  # not tmp_path: the service account must enter it
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(disk)], check=False)
    try:
        if mounted.returncode:
            pytest.skip("This machine does not let root mount a small disk.")
        with pytest.raises(CannotStart, match=r"The disk that holds .* is full"):
            Postgres(disk / "postgres").start()
    finally:
        subprocess.run(["umount", str(disk)], check=False, stderr=subprocess.DEVNULL)
        disk.rmdir()


@needs_root
def test_permissions_of_a_folder_that_was_there_are_never_changed(tmp_path):
    data = tmp_path / "mine"
    data.mkdir(mode=0o700)
    folder = DataFolder(data)
    folder.open()
    services = folder.services_folder()
    try:
        assert data.stat().st_mode & 0o777 == 0o700
        assert not services.is_relative_to(data)
        assert accounts.can_enter(services)
        assert DataFolder(data).services_folder() == services
    finally:
        folder.close()
        services.rmdir()


def test_a_socket_path_that_is_too_long_gets_a_short_one(tmp_path):
    deep = tmp_path / ("deep" * 25)
    short = socket_folder(deep, longest="redis.sock")
    assert short != deep
    assert len(str(short / "redis.sock")) < 107
    assert socket_folder(deep, longest="redis.sock") == short
    assert socket_folder(Path("/tmp/short"), longest="redis.sock") == Path("/tmp/short")
    for odd in ("My talks", "a=b"):
        assert odd not in str(socket_folder(Path("/tmp") / odd, longest="redis.sock"))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="This machine has no IPv6.")
def test_all_addresses_are_those_of_ipv4_too():
    with listen("::", free_port()) as listener:
        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])).close()


def test_a_host_that_is_not_ours_is_a_sentence():
    with pytest.raises(CannotStart, match="HOST"):
        listen("192.0.2.1", 5000)
    with pytest.raises(CannotStart, match=r"HOST=no\.such.host.invalid"):
        listen("no.such.host.invalid", 5000)


@needs_root
def test_programs_behind_a_link_in_a_closed_folder_are_run_from_where_they_are(tmp_path, monkeypatch):
    """The .venv of a clone in root's home may lie elsewhere: what the link leads to can be run, the link cannot."""
    there = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    there.chmod(0o755)
    (there / "bin").mkdir(mode=0o755)
    tmp_path.chmod(0o700)
    (tmp_path / "link").symlink_to(there)
    monkeypatch.setattr(binaries, "package_folder", lambda _name: tmp_path / "link")
    try:
        assert binaries.redis_program() == there / "bin" / "redis-server"
    finally:
        shutil.rmtree(there)
