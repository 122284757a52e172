"""A talk's whole life with its files in a bucket, and what an outage of the store does to it."""

from __future__ import annotations

import dataclasses
import io

import pytest

from app import engine, health
from app.adapters.storage_s3 import S3Storage
from app.engine import testing
from app.videos import queries, service_uploads
from tests.object_store import Line
from tests.videos.browsing import post, post_video
from tests.videos.media_files import make_media
from tests.videos.talks import SRT, again, make_video, say_uploaded
from tests.videos.test_tus import create, patch

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def line(object_store):
    made = Line(object_store.port)
    yield made
    made.cut()


@pytest.fixture
def store(app, bucket, line, settings, monkeypatch):
    """The app's files in an empty bucket, at the end of a line that can be cut."""
    bucket = dataclasses.replace(bucket, endpoint=line.endpoint)
    made = S3Storage(bucket, settings.data_dir / "copies")
    monkeypatch.setitem(app.extensions, "throughline.storage", made)
    monkeypatch.setattr(app, "settings", settings.but(bucket=bucket))
    for upload in service_uploads.folder().iterdir():
        upload.unlink()  # of other tests
    return made


@pytest.fixture
def film(tmp_path):
    return make_media(tmp_path / "talk.mp4").read_bytes()


def left_here(settings) -> list[str]:
    """What lies in the folders of uploads and of copies."""
    return [path.name for name in ("uploads", "copies") for path in (settings.data_dir / name).glob("*")]


def test_a_talk_lives_in_the_bucket_from_its_upload_to_its_deletion(  # noqa: PLR0917
    alice, store, film, settings, models, mails, execute
):
    made = post_video(alice, film, captions=(io.BytesIO(SRT), "talk.srt"))
    assert made.status_code == 201, made.json
    video = queries.get_for(alice.user, made.json["id"])
    folder = f"users/{alice.user.id}/videos/{video.id}"
    assert {key for key, _ in store.list_keys()} == {
        f"{folder}/{name}" for name in ("source.mp4", "poster.jpg", "captions.srt")
    }
    assert left_here(settings) == []

    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert "ring" in alice.get(f"/api/videos/{video.id}/transcript.txt").text
    assert again(video).waveform

    source = f"/videos/{video.id}/source"
    whole = alice.get(source, buffered=True)
    assert (whole.status_code, whole.data) == (200, film)
    part = alice.get(source, headers={"Range": "bytes=100-199"}, buffered=True)
    assert (part.status_code, part.data) == (206, film[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(film)}"
    assert alice.get(source, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert alice.get(source, headers={"Range": f"bytes={len(film)}-"}).status_code == 416
    assert alice.get(f"/videos/{video.id}/poster", buffered=True).data[:2] == b"\xff\xd8"

    post(alice, f"/videos/{video.id}/delete")
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    testing.drain(advance=True)
    assert store.list_keys() == []
    assert left_here(settings) == []


def test_sound_without_captions_goes_through_the_bucket_in_pieces_and_none_is_left(
    alice, store, models, mails, tmp_path
):
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[0].calls) == 1
    assert [key for key, _ in store.list_keys()] == [video.storage_key]


def test_an_outage_at_the_end_of_an_upload_loses_nothing_and_a_second_try_makes_the_video(
    alice, store, line, film, settings
):
    url = create(alice, len(film)).location
    patch(alice, url, film)
    line.cut()
    refused = post(alice, "/api/videos", json={"upload_id": url.rpartition("/")[2]})
    assert refused.status_code == 503
    assert refused.json["message"] == "The file store does not answer. Nothing was lost; try again in a minute."
    line.mend()
    made = post(alice, "/api/videos", json={"upload_id": url.rpartition("/")[2]})
    assert made.status_code == 201, made.json
    folder = f"users/{alice.user.id}/videos/{made.json['id']}"
    assert {key for key, _ in store.list_keys()} == {f"{folder}/source.mp4", f"{folder}/poster.jpg"}
    assert left_here(settings) == []


def test_an_outage_after_the_poster_was_stored_leaves_it_to_the_second_try(alice, store, line, film, monkeypatch):
    """What the first try stored and could not take back belongs to the video that the second one makes."""
    url = create(alice, len(film)).location
    patch(alice, url, film)
    before = S3Storage.put_path

    def put(self, key, path, *, move=False):
        if "source" in key:
            line.cut()
        before(self, key, path, move=move)

    making = {"json": {"upload_id": url.rpartition("/")[2]}}
    with monkeypatch.context() as patched:
        patched.setattr(S3Storage, "put_path", put)
        assert post(alice, "/api/videos", **making).status_code == 503
    line.mend()
    assert [key.rpartition("/")[2] for key, _ in store.list_keys()] == ["poster.jpg"]
    made = post(alice, "/api/videos", **making)
    folder = f"users/{alice.user.id}/videos/{made.json['id']}"
    assert {key for key, _ in store.list_keys()} == {f"{folder}/source.mp4", f"{folder}/poster.jpg"}


def test_an_outage_in_the_middle_of_a_run_is_waited_for(alice, store, line, models, mails, tmp_path):  # noqa: PLR0917
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    line.cut()
    testing.drain()
    (run,) = engine.list_runs(workflow="transcribe-video")
    assert run.status == "waiting"
    assert again(video).status == "transcribing"
    assert alice.get(f"/videos/{video.id}/source").status_code == 503
    line.mend()
    testing.drain(advance=True)
    assert again(video).status == "completed"


def test_an_outage_in_the_middle_of_a_purge_is_waited_for(alice, store, line, tmp_path, execute, models):  # noqa: PLR0917
    video = make_video(alice.user, tmp_path)
    post(alice, f"/videos/{video.id}/delete")
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    line.cut()
    testing.drain()
    line.mend()
    testing.drain(advance=True)
    assert store.list_keys() == []


def test_an_outage_is_told_to_whoever_watches(client, store, line):
    found = {one.name: one for one in health.self_test()}
    assert found["storage"].is_ok, found["storage"].sentence
    assert found["storage"].sentence.startswith(f"bucket {store._bucket.name} at 127.0.0.1")
    assert "storage" not in client.get("/readyz").json["missing"]
    line.cut()
    said = f"127.0.0.1:{line.port} does not answer. Is it up, and S3_ENDPOINT right?"
    assert client.get("/readyz").json["missing"]["storage"] == said
    assert next(one for one in health.self_test() if one.name == "storage").sentence == said
