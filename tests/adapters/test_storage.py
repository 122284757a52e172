"""Stores keep files whole, under keys that only the product makes."""

import errno
import os
from datetime import timedelta

import pytest

from app.adapters import storage
from app.adapters.storage import LocalStorage, MemoryStorage, StorageFull
from app.adapters.storage_s3 import S3Storage
from app.errors import NotFound
from app.lib.clock import now

KEY = "users/0198c0de/videos/0198beef/source.mp4"


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.xdist_group("s3"))])
def store(request, tmp_path):
    """Every test with this fixture is the contract of all stores; the last one is a real server."""
    if request.param == "s3":
        return S3Storage(request.getfixturevalue("bucket"), tmp_path / "copies")
    return LocalStorage(tmp_path / "files") if request.param == "local" else MemoryStorage()


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"0123456789" * 1000)
    return path


def test_what_is_put_can_be_read(store, talk):
    store.put_path(KEY, talk)
    assert store.size(KEY) == 10_000
    assert store.read_range(KEY, 5, 15) == b"5678901234"
    with store.get_path(KEY) as path:
        assert path.read_bytes() == talk.read_bytes()
    about = store.about(KEY)
    assert about.size_bytes == 10_000
    assert abs(now() - about.modified_at) < timedelta(minutes=1)


def test_a_file_can_be_copied_out_and_one_that_is_missing_cannot(store, talk, tmp_path):
    store.put_path(KEY, talk)
    store.fetch(KEY, tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").read_bytes() == talk.read_bytes()
    with pytest.raises(NotFound):
        store.fetch("users/0198c0de/videos/0198beef/other.mp4", tmp_path / "other.mp4")


def test_a_second_file_under_a_key_replaces_the_first(store, talk, tmp_path):
    store.put_path(KEY, talk)
    (tmp_path / "other").write_bytes(b"other")
    store.put_path(KEY, tmp_path / "other")
    assert store.read_range(KEY, 0, 100) == b"other"


def test_an_empty_file_is_a_file(store, tmp_path):
    (tmp_path / "empty").touch()
    store.put_path(KEY, tmp_path / "empty")
    assert store.exists(KEY)
    assert store.size(KEY) == 0


def test_a_file_of_many_parts_arrives_whole(store, tmp_path):
    large = tmp_path / "large.mp4"
    large.write_bytes(os.urandom(2 * storage.PART_BYTES + 12_345))
    store.put_path(KEY, large)
    with store.get_path(KEY) as path:
        assert path.read_bytes() == large.read_bytes()
    end = 2 * storage.PART_BYTES + 12_345
    assert store.read_range(KEY, end - 5, end) == large.read_bytes()[-5:]


def test_files_are_listed_with_their_sizes(store, talk):
    store.put_path(KEY, talk)
    store.put_path("runs/0198aaaa/piece-00000.mp3", talk)
    assert sorted(store.list_keys()) == [("runs/0198aaaa/piece-00000.mp3", 10_000), (KEY, 10_000)]
    assert store.list_keys("users/0198c0de") == [(KEY, 10_000)]
    assert store.list_keys("users/0198") == []


def test_a_store_that_works_says_where_it_is_and_is_left_as_it_was(store):
    assert store.check()
    assert store.check(thoroughly=True) == store.check()
    assert store.list_keys() == []


def test_a_move_gives_the_file_away(store, talk):
    store.put_path(KEY, talk, move=True)
    assert not talk.exists()
    assert store.exists(KEY)


def test_deleting_a_prefix_removes_its_files_and_no_others(store, talk):
    store.put_path(KEY, talk)
    store.put_path("users/0198c0de/videos/0198beef/poster.jpg", talk)
    store.put_path("users/0198c0de/videos/0198beefcafe/source.mp4", talk)
    assert store.delete_prefix("users/0198c0de/videos/0198beef") == 2
    assert not store.exists(KEY)
    assert store.exists("users/0198c0de/videos/0198beefcafe/source.mp4")


def test_deleting_a_prefix_of_nothing_is_no_error(store):
    assert store.delete_prefix("users/0198c0de/videos/0198beef") == 0


def test_deleting_twice_is_no_error(store, talk):
    store.put_path(KEY, talk)
    store.delete(KEY)
    store.delete(KEY)
    assert not store.exists(KEY)


def test_a_missing_file_is_not_found(store):
    with pytest.raises(NotFound):
        store.size(KEY)
    with pytest.raises(NotFound), store.get_path(KEY):
        pass
    with pytest.raises(NotFound):
        store.read_range(KEY, 0, 1)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "users/../x",
        "users//x",
        "users/x/",
        "Users/x",
        "a b",
        "a\x00b",
        "x" * 301,
        "users/.hidden",
    ],
)
def test_a_key_that_the_product_did_not_make_is_refused(store, talk, key):
    with pytest.raises(ValueError, match="not a storage key"):
        store.put_path(key, talk)
    with pytest.raises(ValueError, match="not a storage key"):
        store.read_range(key, 0, 1)


def test_a_full_disk_leaves_the_file_and_says_so(tmp_path, talk, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LocalStorage(tmp_path / "files")
    monkeypatch.setattr(storage.os, "replace", full)
    with pytest.raises(StorageFull, match="no room"):
        store.put_path(KEY, talk, move=True)
    assert talk.exists()
    assert not store.exists(KEY)


def test_a_move_to_another_disk_copies(tmp_path, talk, monkeypatch):
    def elsewhere(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    store = LocalStorage(tmp_path / "files")
    monkeypatch.setattr(storage.os, "replace", elsewhere)
    store.put_path(KEY, talk, move=True)
    assert store.size(KEY) == 10_000
    assert not talk.exists()


def test_a_file_larger_than_the_disk_is_refused_before_it_is_sent(tmp_path):
    with pytest.raises(StorageFull):
        storage.require_room(tmp_path, 1 << 60)


def test_other_accounts_of_the_machine_cannot_come_in(tmp_path):
    LocalStorage(tmp_path / "files")
    assert (tmp_path / "files").stat().st_mode & 0o077 == 0
