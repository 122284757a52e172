"""A bucket that is missing, refuses, breaks off or is slow: what people read, what administrators read, what is left."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import subprocess
import sys
import textwrap

import pytest
import sqlalchemy as sa

from app.adapters.storage import PART_BYTES, StorageFull, Unreachable
from app.adapters.storage_s3 import S3Storage
from app.db import db
from app.errors import NotFound
from app.lib import copies
from app.settings import Bucket
from tests.object_store import READER, SECRET, Line
from tests.test_architecture import ROOT

pytestmark = pytest.mark.xdist_group("s3")
KEY = "users/0198c0de/videos/0198beef/source.mp4"


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"0123456789" * 1000)
    return path


@pytest.fixture
def line(object_store):
    made = Line(object_store.port)
    yield made
    made.cut()


def but(bucket: Bucket, tmp_path, **changes) -> S3Storage:
    return S3Storage(dataclasses.replace(bucket, **changes), tmp_path / "copies")


def verbs(store, talk):
    """Every verb of a store, by name."""
    return {
        "put": lambda: store.put_path(KEY, talk),
        "fetch": lambda: store.fetch(KEY, talk.with_name("copy")),
        "about": lambda: store.about(KEY),
        "exists": lambda: store.exists(KEY),
        "read": lambda: store.read_range(KEY, 0, 5),
        "list": lambda: store.list_keys("users"),
        "delete": lambda: store.delete(KEY),
        "delete all": lambda: store.delete_prefix("users"),
        "check": store.check,
        "check thoroughly": lambda: store.check(thoroughly=True),
    }


def refusals(store, talk) -> dict[str, str]:
    found = {}
    for name, verb in verbs(store, talk).items():
        with pytest.raises(Unreachable) as caught:
            verb()
        assert caught.value.is_retriable
        assert str(caught.value) == "The file store does not answer. Nothing was lost; try again in a minute."
        found[name] = caught.value.hint
    return found


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"name": "no-such-bucket"}, "S3_BUCKET"),
        ({"access_key_id": "NOBODY"}, "S3_ACCESS_KEY_ID"),
        ({"secret_access_key": "hunter2-wrong"}, "S3_SECRET_ACCESS_KEY"),
        ({"endpoint": "http://127.0.0.1:9"}, "S3_ENDPOINT"),
    ],
)
def test_a_wrong_setting_is_named_by_every_verb_and_no_secret_is_said(  # noqa: PLR0917
    bucket, tmp_path, talk, changes, setting, capfd
):
    store = but(bucket, tmp_path, **changes)
    store._store = store._hasty  # the same, without the patience
    for verb, hint in refusals(store, talk).items():
        assert setting in hint, verb
    assert "hunter2" not in "".join([*refusals(store, talk).values(), *capfd.readouterr()])


def test_keys_that_may_only_read_are_found_out_by_the_thorough_check(bucket, tmp_path):
    store = but(bucket, tmp_path, access_key_id=READER)
    assert store.check()
    with pytest.raises(Unreachable) as caught:
        store.check(thoroughly=True)
    assert "let these list, read, write and delete" in caught.value.hint


def test_secrets_are_in_no_representation(bucket, tmp_path):
    store = but(bucket, tmp_path)
    for shown in (repr(bucket), repr(store), repr(store._store)):
        assert SECRET not in shown


def test_a_bucket_that_goes_away_is_never_taken_for_missing_files(bucket, tmp_path, talk):
    store = but(bucket, tmp_path)
    with pytest.raises(NotFound):
        store.about(KEY)
    other = but(bucket, tmp_path, name="gone-gone-gone")
    for ask in (other.about, other.exists, other.size):
        with pytest.raises(Unreachable):
            ask(KEY)


class BrokenDisk(io.RawIOBase):
    """A file of 60 MiB of which 20 can be read."""

    def __init__(self):
        self.blocks = 0

    def open(self, _mode):
        return self

    def readable(self):
        return True

    def read(self, _size=-1):
        self.blocks += 1
        if self.blocks > 20:
            raise OSError(errno.EIO, "the disk broke")
        return bytes(1 << 20)

    def seek(self, _to, whence=0):
        return 60 << 20 if whence == 2 else 0

    def tell(self):
        return 0


def test_a_file_that_cannot_be_read_to_its_end_leaves_neither_a_file_nor_parts(object_store, bucket, tmp_path):
    store, broken = but(bucket, tmp_path), BrokenDisk()
    with pytest.raises(Unreachable):
        store.put_path(KEY, broken)
    assert broken.blocks > 20
    assert object_store.left_over(bucket) == []
    assert store.list_keys() == []


def test_an_outage_in_the_middle_of_an_upload_keeps_the_file_here_and_stores_nothing(bucket, tmp_path, line, talk):
    store = but(bucket, tmp_path, endpoint=line.endpoint)
    large = tmp_path / "large.mp4"
    large.write_bytes(os.urandom(3 * PART_BYTES))
    line.bytes_left = PART_BYTES + 1000
    with pytest.raises(Unreachable):
        store.put_path(KEY, large, move=True)
    assert large.stat().st_size == 3 * PART_BYTES
    line.mend()
    assert store.list_keys() == []
    store.put_path(KEY, large, move=True)
    assert store.size(KEY) == 3 * PART_BYTES
    assert not large.exists()


def test_a_short_break_is_not_noticed(bucket, tmp_path, talk, line):
    """Two connections are refused, the third attempt of the same call gets through."""
    store = but(bucket, tmp_path, endpoint=line.endpoint)
    store.put_path(KEY, talk)
    line.refuse(2)
    assert store.read_range(KEY, 0, 5) == b"01234"


def test_what_is_set_for_other_programs_in_the_environment_changes_nothing(bucket, tmp_path, talk, monkeypatch):
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BUCKET", "AWS_REGION"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    store = but(bucket, tmp_path)
    store.put_path(KEY, talk)
    assert store.size(KEY) == 10_000


def test_files_lie_under_the_prefix_and_nothing_outside_of_it_is_seen(bucket, tmp_path, talk):
    whole, part = but(bucket, tmp_path), but(bucket, tmp_path, prefix="Team/files")
    whole.put_path("users/0198c0de/other.mp4", talk)
    part.put_path(KEY, talk)
    assert part.list_keys() == [(KEY, 10_000)]
    assert part.delete_prefix("users") == 1
    assert whole.list_keys() == [("users/0198c0de/other.mp4", 10_000)]


def test_a_bucket_may_be_addressed_by_its_host(object_store, bucket, tmp_path):
    made = but(bucket, tmp_path, endpoint="https://s3.example.org:9000", is_path_style=False)
    assert made._store.config["endpoint"] == f"https://{bucket.name}.s3.example.org:9000"
    amazon = but(bucket, tmp_path, endpoint="", is_path_style=False)
    assert amazon.check  # its address is made by the library from the region
    assert "endpoint" not in amazon._store.config


def test_a_copy_for_which_there_is_no_room_is_refused_before_it_is_made(bucket, tmp_path, talk, monkeypatch):
    store = but(bucket, tmp_path)
    store.put_path(KEY, talk)
    monkeypatch.setattr("app.adapters.storage.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(StorageFull), store.get_path(KEY):
        pass
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_copy_is_gone_after_its_use_and_that_of_a_killed_process_at_the_next(bucket, tmp_path, talk):
    store = but(bucket, tmp_path)
    store.put_path(KEY, talk)
    root = tmp_path / "copies"
    program = """
        import os, sys
        from pathlib import Path
        from app.lib import copies
        with copies.folder(Path(sys.argv[1])) as made:
            (made / "x").write_text("x")
            os._exit(9)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program), root], cwd=ROOT, check=False)
    assert killed.returncode == 9
    (left,) = root.iterdir()
    with store.get_path(KEY):
        assert left.exists(), "It is young: its owner may be about to take its lock."
    for each in root.iterdir():
        os.utime(each, (0, 0))
    with store.get_path(KEY) as path:
        os.utime(path.parent, (0, 0))  # however old: this one is in use
        with copies.folder(root):
            assert path.exists()
        assert not left.exists()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("verb", ["put", "fetch", "about", "exists", "read", "list", "delete", "delete all", "check"])
def test_no_call_to_the_store_is_made_inside_a_transaction(app, bucket, tmp_path, talk, verb):
    store = but(bucket, tmp_path)
    store.put_path(KEY, talk)
    db.session.execute(sa.select(sa.literal(1)))
    verbs(store, talk)[verb]()
    assert not db.session().in_transaction()


SILENT_STORE = """
        from gevent import monkey; monkey.patch_all()
        import os, sys, time, gevent
        from pathlib import Path
        from app.adapters import storage_s3
        from app.adapters.storage import LocalStorage, Unreachable
        from app.lib import off_hub
        from app.settings import Bucket
        from datetime import timedelta
        import gevent.server

        silent = gevent.server.StreamServer(("127.0.0.1", 0), lambda *_: gevent.sleep(60)); silent.start()
        short = {"timeout": timedelta(milliseconds=300), "connect_timeout": timedelta(milliseconds=300)}
        bucket = Bucket("talks", "KEY", "SECRET", endpoint=f"http://127.0.0.1:{silent.server_port}")
        folder = Path(sys.argv[1]); talk = folder / "talk"; talk.write_bytes(b"x" * 10)
        store = storage_s3.S3Storage(bucket, folder / "copies")
        store._store = store._hasty = storage_s3._connect(bucket, short, storage_s3.NO_RETRIES)
        longest, last, ends = 0.0, time.monotonic(), False

        def count():
            global longest, last
            while not ends:
                gevent.sleep(0.005)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()

        counting = gevent.spawn(count)
        for verb in (
            lambda: store.put_path("a.mp4", talk), lambda: store.fetch("a.mp4", folder / "copy"),
            lambda: store.about("a.mp4"), lambda: store.exists("a.mp4"), lambda: store.read_range("a.mp4", 0, 5),
            lambda: store.list_keys(), lambda: store.delete("a.mp4"), lambda: store.delete_prefix("users"),
            lambda: store.check(), lambda: store.check(thoroughly=True),
        ):
            began = time.monotonic()
            try: verb()
            except Unreachable: pass
            else: raise AssertionError("It was to be silent.")
            assert time.monotonic() - began > 0.25
        ends = True; counting.join()
        print(f"{longest:.3f}")
"""


def test_under_gevent_a_slow_store_keeps_no_other_greenlet_waiting(tmp_path):
    """Each of the calls waits 0.3 s for a silent store; meanwhile another greenlet counts on."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SILENT_STORE), tmp_path],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 0.15  # a call on the hub would be 0.3
