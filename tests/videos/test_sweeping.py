"""What is removed when its time is over, whether or not anybody comes by."""

from __future__ import annotations

import os
import time

import pytest

from app.adapters import cache
from app.videos import queries, service_uploads
from jobs import sweeping
from tests.videos.browsing import headers

DAYS = 86_400


@pytest.fixture
def upload(alice):
    answer = alice.post("/uploads/", headers=headers(alice, **{"Upload-Length": "5"}))
    return queries.get_upload_for(alice.user, answer.location.rpartition("/")[2])


@pytest.fixture
def expire(execute):
    return lambda: execute("UPDATE upload SET expires_at = now() - interval '1 second'")


def test_an_expired_upload_goes_although_nobody_uploads_again(app, upload, expire):
    expire()
    path = service_uploads.path_of(upload)
    assert path.exists()
    sweeping.sweep(app)
    assert not path.exists()
    assert queries.list_expired_uploads() == []


def test_an_upload_whose_bytes_are_coming_in_is_left_alone(app, upload, expire):
    expire()
    with service_uploads.locked(upload):
        sweeping.sweep(app)
        assert service_uploads.path_of(upload).exists()
    sweeping.sweep(app)
    assert not service_uploads.path_of(upload).exists()


def test_what_a_killed_server_left_in_the_folder_of_uploads_goes(app, upload):
    folder = service_uploads.folder()
    form, stray, fresh = folder / "form-killed", folder / "0196ffff-0000-7000-8000-000000000000", folder / "form-now"
    for place in (form, fresh):
        place.mkdir()
        (place / "part-0").write_bytes(b"half a file")
    stray.write_bytes(b"bytes without a row")
    old = time.time() - 3 * DAYS
    for path in (form, stray, service_uploads.path_of(upload)):
        os.utime(path, (old, old))
    sweeping.sweep(app)
    assert not form.exists()
    assert not stray.exists()
    assert fresh.exists()
    assert service_uploads.path_of(upload).exists()  # it has a row that is not expired
    (fresh / "part-0").unlink()
    fresh.rmdir()


def test_expired_answers_of_models_go_also_of_those_who_never_ask_again(app, alice, charlie, execute):
    cache.keep(alice.user.id, "a", {"text": "kept for a day"})
    cache.keep(charlie.user.id, "b", {"text": "kept for a day"})
    execute("UPDATE model_cache SET expires_at = now() - interval '1 second' WHERE request_hash = 'a'")
    sweeping.sweep(app)
    assert execute("SELECT string_agg(request_hash, '') FROM model_cache").scalar() == "b"


def test_a_sweep_that_fails_is_tried_again_an_hour_later(app, monkeypatch):
    waited, done = [], []

    def broken():
        done.append("tried")
        raise OSError("the disk went away")

    class Stop:
        def wait(self, seconds):
            waited.append(seconds)
            return len(waited) > 1

    monkeypatch.setattr(sweeping.service, "remove_expired", broken)
    sweeping.loop(app, Stop())
    assert done == ["tried", "tried"]
    assert waited == [sweeping.PAUSE_SECONDS] * 2
