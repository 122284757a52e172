"""Copies that browsers play: asked for by the upload, made by a run of their own, played, counted and removed."""

from __future__ import annotations

import io

import pytest

from app import engine
from app.accounts import service as accounts
from app.adapters.media import FakeMedia, Unusable
from app.adapters.storage import storage
from app.db import db
from app.engine import testing
from app.videos import rendering, service, service_uploads, video_runs
from tests.videos.browsing import post, post_video
from tests.videos.media_files import make_media
from tests.videos.talks import SRT, again, make_video

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def unplayed(alice, tmp_path):
    """A video of Alice's that browsers do not play, whose copy was asked for."""
    video = make_video(alice.user, tmp_path, sample="", media_type="video/x-msvideo", video_codec="mpeg4")
    rendering.ask(video)
    db.session.commit()
    return video


@pytest.fixture
def media(app, monkeypatch):
    made = FakeMedia(found=Unusable("damaged"))
    monkeypatch.setitem(app.extensions, "throughline.media", made)
    return made


def playback(browser, video_id):
    return browser.get(f"/api/videos/{video_id}").json["playback"]


def upload(browser, path):
    return post_video(browser, path.read_bytes(), path.name, captions=(io.BytesIO(SRT), "talk.srt"))


@pytest.mark.parametrize("name", ["talk.mkv", "talk.avi"])
def test_an_upload_that_browsers_do_not_play_is_copied_and_then_played_in_parts(alice, models, mails, tmp_path, name):
    made = upload(alice, make_media(tmp_path / name))
    assert made.status_code == 201, made.text
    video_id = made.json["id"]
    assert playback(alice, video_id)["status"] == "making"
    assert playback(alice, video_id)["url"] is None
    page = alice.get(f"/videos/{video_id}").text
    assert "Making a copy that your browser can play" in page
    testing.drain(advance=True)
    state = playback(alice, video_id)
    assert (state["status"], state["error"]) == ("ready", None)
    assert state["url"].endswith(f"/videos/{video_id}/rendition")
    assert f'src="/videos/{video_id}/rendition"' in alice.get(f"/videos/{video_id}").text
    with alice.get(f"/videos/{video_id}/rendition", headers={"Range": "bytes=4-7"}) as part:
        assert (part.status_code, part.data, part.content_type) == (206, b"ftyp", "video/mp4")
    assert alice.get(f"/api/videos/{video_id}").json["status"] == "completed"


def test_an_upload_that_browsers_play_is_not_copied(alice, models, mails, tmp_path):
    video_id = upload(alice, make_media(tmp_path / "talk.mp4")).json["id"]
    testing.drain(advance=True)
    assert playback(alice, video_id)["status"] == "original"
    assert engine.list_runs(owner_id=alice.user.id, workflow=video_runs.RENDITION) == []


def test_the_copy_counts_against_the_quota_and_goes_with_its_video(alice, unplayed, media):
    before = accounts.storage_used(alice.user.id)
    testing.drain()
    video = again(unplayed)
    assert video.rendition_status == "ready"
    assert accounts.storage_used(alice.user.id) == before + len(b"a copy")
    key = video.rendition_key
    assert storage().exists(key)
    service.delete(video)
    db.session.commit()
    testing.drain(advance=True)
    assert not storage().exists(key)


def test_a_file_that_cannot_be_copied_is_none_the_worse_and_can_be_tried_again(alice, unplayed, media):
    media.rendition = Unusable("damaged")
    testing.drain(advance=True)
    video = again(unplayed)
    assert (video.rendition_status, video.status) == ("failed", unplayed.status)
    page = alice.get(f"/videos/{video.id}").text
    assert "A copy for browsers could not be made" in page
    assert "This file is damaged" in page
    assert 'download="' in page
    media.rendition = b"a copy"
    assert post(alice, f"/videos/{video.id}/make-rendition").status_code == 303
    assert playback(alice, video.id)["status"] == "making"
    testing.drain(advance=True)
    assert playback(alice, video.id)["status"] == "ready"
    assert post(alice, f"/videos/{video.id}/make-rendition").status_code == 303
    assert len(engine.list_runs(owner_id=alice.user.id, workflow=video_runs.RENDITION)) == 2, "nothing to do twice"


def test_a_copy_for_which_the_storage_has_no_room_says_what_to_do(alice, unplayed, media, monkeypatch):
    monkeypatch.setattr(accounts, "storage_left", lambda _owner: 3)
    testing.drain(advance=True)
    assert again(unplayed).rendition_status == "failed"
    assert "Delete videos that you no longer need" in playback(alice, unplayed.id)["error"]
    assert [path for path in service_uploads.folder().iterdir() if path.name.startswith("rendition-")] == []


def test_a_process_that_dies_while_the_copy_is_stored_leaves_one_copy_in_the_end(alice, unplayed, media, app):
    with testing.crash_after("make"):
        testing.drain()
    testing.drain(advance=True)
    video = again(unplayed)
    assert video.rendition_status == "ready"
    folder = app.settings.data_dir / "files" / f"users/{alice.user.id}/videos/{video.id}/rendition"
    assert [path.name for path in folder.iterdir()] == [video.rendition_key.rpartition("/")[2]]


def test_cancelling_stops_the_copy_and_says_so(alice, unplayed, media):
    again(unplayed)
    assert post(alice, f"/api/videos/{unplayed.id}/cancel").status_code == 200
    testing.drain(advance=True)
    state = playback(alice, unplayed.id)
    assert state["status"] == "failed"
    assert "Try again" in state["error"]


def test_a_video_that_is_taken_back_has_its_copy_made_after_all(alice, unplayed, media):
    service.delete(again(unplayed))
    db.session.commit()
    testing.drain()
    service.restore(again(unplayed))
    db.session.commit()
    testing.drain(advance=True)
    assert again(unplayed).rendition_status == "ready"


def test_strangers_see_and_start_nothing(charlie, root, unplayed, media):
    testing.drain()
    for browser in (charlie, root):
        assert browser.get(f"/videos/{unplayed.id}/rendition").status_code == 404
        assert post(browser, f"/videos/{unplayed.id}/make-rendition").status_code == 404
