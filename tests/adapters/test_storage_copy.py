"""`throughline files copy`: from a data folder to a bucket and back, again and again without harm."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app.adapters.storage import LocalStorage
from app.adapters.storage_s3 import S3Storage
from app.cli import cli
from app.embedded.errors import CannotStart
from tests.object_store import SECRET

pytestmark = pytest.mark.xdist_group("s3")
FILES = {"users/0198c0de/videos/0198beef/source.mp4": b"film", "runs/0198aaaa/piece-00000.mp3": b"sound"}


@pytest.fixture
def house(tmp_path, bucket, monkeypatch):
    """A data folder with files, and settings that name a bucket."""
    for name, value in {
        "THROUGHLINE_DATA": str(tmp_path),
        "S3_BUCKET": bucket.name,
        "S3_ENDPOINT": bucket.endpoint,
        "S3_ACCESS_KEY_ID": bucket.access_key_id,
        "S3_SECRET_ACCESS_KEY": bucket.secret_access_key,
    }.items():
        monkeypatch.setenv(name, value)
    disk, store = LocalStorage(tmp_path / "files"), S3Storage(bucket, tmp_path / "copies")
    for key, data in FILES.items():
        (tmp_path / "new").write_bytes(data)
        disk.put_path(key, tmp_path / "new", move=True)
    return disk, store


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["files", "copy", *arguments])
    if isinstance(done.exception, CannotStart):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def contents(store) -> dict[str, bytes]:
    return {key: store.read_range(key, 0, size) for key, size in store.list_keys()}


def test_all_files_are_copied_and_a_second_run_copies_none(house):
    disk, store = house
    assert run().splitlines() == ["2 files, 0 of them are there already.", "2 copied."]
    assert contents(store) == contents(disk) == FILES
    assert run().splitlines() == ["2 files, 2 of them are there already.", "0 copied."]


def test_half_a_copy_is_made_whole_and_what_only_the_target_has_stays(house, tmp_path):
    _, store = house
    key = next(iter(FILES))
    (tmp_path / "half").write_bytes(b"fi")
    store.put_path(key, tmp_path / "half")
    store.put_path("users/0198ffff/other.mp4", tmp_path / "half")
    run()
    assert contents(store) == FILES | {"users/0198ffff/other.mp4": b"fi"}


def test_the_way_back(house, tmp_path):
    disk, store = house
    run()
    disk.delete_prefix("users")
    assert run("--back").splitlines() == ["2 files, 1 of them are there already.", "1 copied."]
    assert contents(disk) == contents(store) == FILES
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_bucket_that_is_not_set_or_refuses_is_a_sentence(house, monkeypatch):
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(CannotStart, match="Mend S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY") as caught:
        run()
    assert SECRET not in str(caught.value)
    for name in ("S3_BUCKET", "S3_ENDPOINT", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(CannotStart, match="No bucket is set"):
        run()
