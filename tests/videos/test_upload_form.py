"""POST /api/videos and the plain form: from bytes to a video, or to a clear refusal that leaves nothing behind."""

import errno
import io
import shutil
import struct
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from werkzeug.formparser import FormDataParser

from app import engine
from app.adapters.storage import LocalStorage, ObjectStorage, StorageFull, storage
from app.db import db
from app.lib.text import file_size
from app.videos import events, queries, service_uploads
from app.videos.models import Upload, Video
from tests.videos.browsing import post, post_video, token
from tests.videos.media_files import make_media
from tests.videos.talks import make_video


@pytest.fixture
def talk(tmp_path):
    return make_media(tmp_path / "talk.mp4").read_bytes()


@pytest.fixture
def left_behind(app):
    """What is there after a refusal: rows, files, runs."""

    def look():
        root = app.extensions["throughline.storage"].root
        return (
            db.session.scalar(sa.select(sa.func.count()).select_from(Video)),
            db.session.scalar(sa.select(sa.func.count()).select_from(Upload)),
            [str(path) for folder in (root, service_uploads.folder()) for path in folder.rglob("*") if path.is_file()],
            engine.list_runs(),
        )

    return look


@pytest.fixture(autouse=True)
def empty_store(app):
    for folder in (app.extensions["throughline.storage"].root, service_uploads.folder()):
        shutil.rmtree(folder)
        folder.mkdir()


def test_a_file_becomes_a_video_and_its_event_is_sent(alice, talk):
    answer = post_video(alice, talk, title="On tides", language="de")
    assert answer.status_code == 201, answer.text
    assert set(answer.json) == {"id", "title", "status", "url"}
    assert answer.json["title"] == "On tides"
    assert answer.json["status"] == "pending"
    video = db.session.scalars(sa.select(Video)).one()
    assert video.owner_id == alice.user.id
    assert video.language == "de"
    assert video.duration_seconds == pytest.approx(4, abs=0.1)
    event = db.session.execute(sa.text("SELECT name, owner_id, data FROM event")).one()
    assert (event.name, event.owner_id) == (events.UPLOADED, alice.user.id)
    assert event.data["video_id"] == str(video.id)
    assert event.data["storage_key"] == video.storage_key


def test_no_upload_stays_under_way_afterwards(alice, talk):
    post_video(alice, talk)
    assert queries.list_uploads(alice.user.id) == []
    assert queries.stored_bytes(alice.user.id) == len(talk)


def test_captions_are_kept_beside_the_file(alice, talk):
    srt = b"1\n00:00:00,000 --> 00:00:02,000\nHello\n"
    answer = post_video(alice, talk, captions=(io.BytesIO(srt), "talk.srt"))
    assert answer.status_code == 201
    assert alice.get(f"/videos/{answer.json['id']}/captions", buffered=True).data == srt


REFUSED = {
    "text": (b"Dear sir or madam" * 100, "not a video or sound file"),
    "empty": (b"", "empty"),
    "nothing but a header": (b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(60), "damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_media_is_refused_and_leaves_nothing(alice, left_behind, kind):
    data, sentence = REFUSED[kind]
    answer = post_video(alice, data)
    assert answer.status_code == 422
    assert sentence in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_a_truncated_file_is_refused(alice, left_behind, talk):
    answer = post_video(alice, talk[: len(talk) // 2])
    assert answer.status_code == 422
    assert "damaged" in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_a_silent_film_is_refused(alice, left_behind, tmp_path):
    answer = post_video(alice, make_media(tmp_path / "silent.mp4", sound=False).read_bytes())
    assert answer.status_code == 422
    assert "no sound" in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_malformed_captions_are_named_by_line(alice, left_behind, talk):
    answer = post_video(alice, talk, captions=(io.BytesIO(b"1\n00:00:00 -> 00:00\nHello\n"), "talk.srt"))
    assert answer.status_code == 422
    assert "line 2" in str(answer.json)
    assert left_behind() == (0, 0, [], [])


@pytest.fixture
def with_settings(app, settings, monkeypatch):
    return lambda **changes: monkeypatch.setattr(app, "settings", settings.but(**changes))


def test_a_file_over_the_limit_is_refused(alice, left_behind, talk, with_settings):
    with_settings(max_upload_bytes=len(talk) - 1)
    answer = post_video(alice, talk)
    assert answer.status_code == 413
    assert "at most" in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_a_file_as_large_as_allowed_is_taken_by_the_form_whose_body_is_larger(alice, talk, with_settings):
    with_settings(max_upload_bytes=len(talk))
    assert post_video(alice, talk).status_code == 201


def test_the_usage_page_shows_what_is_stored(alice, talk, with_settings):
    with_settings(storage_quota_bytes=10 * len(talk))
    post_video(alice, talk)
    page = alice.get("/account/usage").text
    assert f"{file_size(len(talk))}" in page
    assert f"{file_size(10 * len(talk))}" in page


def test_a_talk_over_the_longest_duration_is_refused(alice, left_behind, talk, with_settings):
    with_settings(max_duration_seconds=3)
    answer = post_video(alice, talk)
    assert answer.status_code == 422
    assert "at most 0:03" in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_a_full_quota_is_said(alice, left_behind, talk, with_settings):
    with_settings(storage_quota_bytes=10_000)
    answer = post_video(alice, talk)
    assert answer.status_code == 413
    assert "storage is full" in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_a_full_disk_is_said_before_the_file_is_sent(alice, left_behind, talk, monkeypatch):
    def full(*_):
        raise StorageFull

    monkeypatch.setattr(service_uploads, "require_room", full)
    answer = post_video(alice, talk)
    assert answer.status_code == 507
    assert "no room" in answer.json["message"]
    assert left_behind() == (0, 0, [], [])


def test_a_disk_that_fills_up_while_storing_leaves_nothing(alice, left_behind, talk, monkeypatch):
    def full(*_args, **_kwargs):
        raise StorageFull

    monkeypatch.setattr(LocalStorage, "put_path", full)
    answer = post_video(alice, talk)
    assert answer.status_code == 507
    assert left_behind() == (0, 0, [], [])


def full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "what"),
    [(tempfile, "mkdtemp"), (Path, "touch"), (tempfile, "TemporaryDirectory"), (FormDataParser, "parse")],
)
def test_a_disk_that_fills_up_at_any_write_is_said_and_leaves_nothing(  # noqa: PLR0917
    alice, left_behind, talk, monkeypatch, where, what
):
    token(alice)
    with monkeypatch.context() as patch:
        patch.setattr(where, what, full)
        answer = post_video(alice, talk)
    assert (answer.status_code, answer.json["error"]) == (507, "storage_full")
    assert left_behind() == (0, 0, [], [])


def test_a_disk_that_fills_up_while_captions_come_as_text_is_said(alice, talk, monkeypatch):
    upload = service_uploads.create(alice.user.id, len(talk), "talk.mp4")
    service_uploads.path_of(upload).write_bytes(talk)
    token(alice)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    answer = post(alice, "/api/videos", json={"upload_id": str(upload.id), "captions": "WEBVTT"})
    assert (answer.status_code, answer.json["error"]) == (507, "storage_full")


@pytest.mark.parametrize("path", ["/api/video/upload", "/videos/samples"])
def test_a_disk_that_fills_up_while_copying_leaves_no_upload(alice, tmp_path, monkeypatch, path):
    video = make_video(alice.user, tmp_path, sample="")
    lying = video.storage_key.replace("source", "another")
    storage().put_path(lying, tmp_path / "empty.mp4")
    token(alice)
    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr(ObjectStorage, "_fetch", full)
    assert post(alice, path, json={"storagePath": lying}).status_code == 507
    assert db.session.scalars(sa.select(Upload)).all() == []
    assert [each.name for each in service_uploads.folder().iterdir() if each.stat().st_size] == []


def test_a_commit_that_fails_takes_the_files_back(alice, app, talk, monkeypatch, left_behind):
    def broken():
        raise RuntimeError("the database went away")

    app.testing = False
    try:
        with monkeypatch.context() as patch:
            patch.setattr(db.session, "commit", commit_until_sent(broken))
            answer = post_video(alice, talk)
    finally:
        app.testing = True
    assert answer.status_code == 500
    videos, _, files, runs = left_behind()
    assert (videos, files, runs) == (0, [], [])


def commit_until_sent(broken):
    real = db.session.commit

    def commit():
        if any(isinstance(row, Video) for row in db.session.new):
            broken()
        real()

    return commit


def test_the_same_content_is_offered_and_may_be_added_again(alice, charlie, talk):
    first = post_video(alice, talk, title="First")
    second = post_video(alice, talk, title="Second")
    assert second.status_code == 409
    assert second.json["error"] == "already_there"
    assert second.json["video"]["id"] == first.json["id"]
    assert post_video(alice, talk, query="?again=1").status_code == 201
    assert post_video(charlie, talk).status_code == 201  # other people's files are nobody's business


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("<script>alert(1)</script>.mp4", "script>.mp4"),
        ("talk\u202e4pm.exe", "talk4pm.exe"),
        ("a" * 400 + ".mp4", "a" * 200),
    ],
)
def test_a_file_name_is_only_shown_and_cleaned(alice, talk, name, shown):
    answer = post_video(alice, talk, name=name)
    assert answer.status_code == 201
    video = db.session.scalars(sa.select(Video)).one()
    assert video.original_filename == shown
    assert video.storage_key == f"users/{alice.user.id}/videos/{video.id}/source.mp4"
    page = alice.get("/videos").text
    assert "<script>alert" not in page


def test_a_missing_file_is_named(alice, left_behind):
    answer = post(alice, "/api/videos", data={"title": "x"}, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert answer.json["details"][0]["path"] == "file"
    assert left_behind() == (0, 0, [], [])


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\nnonsense", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc']
)
def test_a_broken_form_is_a_400_or_422(alice, left_behind, body):
    answer = post(alice, "/api/videos", data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code in (400, 422)
    assert left_behind() == (0, 0, [], [])


def test_three_files_in_one_form_are_refused(alice, left_behind, talk):
    files = [(io.BytesIO(talk), f"{number}.mp4") for number in range(3)]
    answer = post(alice, "/api/videos", data={"file": files})
    assert answer.status_code == 400
    assert left_behind() == (0, 0, [], [])


def test_nobody_gets_401(client, talk):
    assert client.post("/api/videos", data={"file": (io.BytesIO(talk), "talk.mp4")}).status_code == 401


def test_a_form_without_its_token_is_refused(alice, talk, left_behind):
    answer = alice.post("/api/videos", data={"file": (io.BytesIO(talk), "talk.mp4")})
    assert answer.status_code == 400
    assert left_behind() == (0, 0, [], [])


def test_the_plain_form_leads_to_the_video(alice, talk):
    answer = post(alice, "/upload", data={"file": (io.BytesIO(talk), "my_talk.mp4"), "language": "en"})
    video = db.session.scalars(sa.select(Video)).one()
    assert answer.status_code == 303
    assert answer.location == f"/videos/{video.id}"
    assert video.title == "my talk"


def test_the_plain_form_says_what_is_wrong_on_the_page(alice, left_behind):
    answer = post(alice, "/upload", data={"file": (io.BytesIO(b"hello"), "x.mp4")})
    assert answer.status_code == 422
    assert "not a video or sound file" in answer.text
    assert left_behind() == (0, 0, [], [])


def test_the_plain_form_offers_the_existing_video_and_adds_it_when_told(alice, talk):
    post_video(alice, talk)
    answer = post(alice, "/upload", data={"file": (io.BytesIO(talk), "x.mp4")})
    assert answer.status_code == 409
    assert "You have this file already" in answer.text
    (upload,) = queries.list_uploads(alice.user.id)
    assert post(alice, f"/upload/{upload.id}/finish?again=1").status_code == 303
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Video)) == 2
