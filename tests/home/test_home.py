"""Home: what it shows, to whom, and what it never shows."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from app import engine
from app.db import db
from app.engine.testing import drain, isolated_registry
from app.home import board
from app.lib.ids import new_id
from app.videos.models import Video
from tests.test_looks import assert_well_formed


def make_video(
    owner_id: UUID, title: str = "How rivers find the sea", status: str = "completed", **more: object
) -> Video:
    identity = new_id()
    values = {
        "id": identity,
        "owner_id": owner_id,
        "title": title,
        "original_filename": "talk.mp4",
        "status": status,
        "storage_key": f"users/{owner_id}/videos/{identity}/source.mp4",
        "media_type": "video/mp4",
        "size_bytes": 4_200_000,
        "content_hash": "0" * 64,
        "duration_seconds": 187.0,
        "container": "mp4",
        "video_codec": "h264",
        "audio_codec": "aac",
    }
    video = Video(**{**values, **more})
    db.session.add(video)
    db.session.commit()
    return video


@pytest.fixture
def workflows(app):
    """A workflow about a video, and one about nothing, neither of them run yet."""
    with isolated_registry():

        @engine.workflow("look-at-video", on="test/video", subject="video:{event.data.video_id}")
        def transcribe(ctx, step):
            step.run("go", lambda: None)

        @engine.workflow("look-at-nothing", on="test/nothing", retries=0)
        def reprocess(ctx, step):
            raise engine.NonRetriable("The models are away. Try again tomorrow.")

        yield


def text_of(browser, path="/") -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_nobody_signed_in_sees_what_this_is_and_how_to_come_in(client):
    text = text_of(client)
    assert_well_formed(text)
    assert 'action="/sign-in"' in text
    assert 'name="csrf_token"' in text


def test_a_new_person_is_shown_the_way_to_the_first_upload(alice):
    text = text_of(alice)
    assert_well_formed(text)
    assert "Upload your first talk" in text
    assert "Hello, Alice" in text


def test_home_shows_recent_videos_and_usage(alice):
    make_video(alice.user.id)
    text = text_of(alice)
    assert_well_formed(text)
    assert "How rivers find the sea" in text
    assert "3:07" in text
    assert "4.2 MB" in text
    assert "$0.00" in text
    assert "Upload your first talk" not in text


def test_what_failed_needs_its_owner_and_says_why(alice):
    make_video(
        alice.user.id, status="failed", error_message="There is no sound in this file. Upload one with a sound track."
    )
    text = text_of(alice)
    assert "Needs you" in text
    assert "There is no sound in this file." in text


def test_a_video_at_work_stands_under_running_now(alice, workflows):
    video = make_video(alice.user.id, status="transcribing")
    engine.send("test/video", {"video_id": str(video.id)}, owner_id=alice.user.id)
    text = text_of(alice)
    assert "Running now" in text
    assert "Transcribing" in text
    assert text.count('id="running-') == 1


def test_a_run_about_no_video_is_shown_while_it_runs_and_when_it_failed(alice, workflows):
    engine.send("test/nothing", {}, owner_id=alice.user.id)
    assert "Look at nothing" in text_of(alice)
    drain()
    text = text_of(alice)
    assert "Needs you" in text
    assert "The models are away." in text


def test_a_deleted_video_is_not_shown(alice):
    video = make_video(alice.user.id)
    video.deleted_at = video.created_at
    db.session.commit()
    assert "How rivers find the sea" not in text_of(alice)


def test_a_deleted_video_that_waits_for_an_undo_is_not_running(alice):
    with isolated_registry():

        @engine.workflow("tidy-up", on="video/deleted")
        def purge(ctx, step):
            step.sleep("undo", 30)

        engine.send("video/deleted", {}, owner_id=alice.user.id)
        assert "Running now" not in text_of(alice)


@pytest.mark.parametrize("status", ["completed", "failed", "transcribing"])
def test_neither_a_stranger_nor_an_administrator_sees_it(alice, charlie, root, status):
    make_video(alice.user.id, status=status)
    assert "How rivers find the sea" not in text_of(charlie)
    assert "How rivers find the sea" not in text_of(root)


def test_only_its_owner_may_watch_a_board(alice, charlie, root):
    assert board.may_watch(alice.user, alice.user.id)
    assert not board.may_watch(charlie.user, alice.user.id)
    assert not board.may_watch(root.user, alice.user.id)
    assert not board.may_watch(None, alice.user.id)


def test_a_title_is_shown_as_text(alice):
    make_video(alice.user.id, title="<script>alert(1)</script>")
    text = text_of(alice)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_administrators_have_their_pages_in_the_menu(alice, root):
    assert "Administration" in text_of(root)
    assert "Administration" not in text_of(alice)


def test_what_waits_says_for_what_and_until_when(alice):
    with isolated_registry():

        @engine.workflow("child-work", on=())
        def child_work(ctx, step):
            step.sleep("nap", "12s")

        @engine.workflow("parent-work", on="test/parent")
        def parent_work(ctx, step):
            step.invoke("delegate", child_work)

        engine.send("test/parent", {}, owner_id=alice.user.id)
        db.session.commit()
        drain()
        text = text_of(alice)
        assert "It waits for a run that it has started" in text
        assert re.search(r"It sleeps · goes on <time [^>]*data-until[^>]*>in 1\d s</time>", text)
        assert "free worker" not in text
        assert "<progress" not in text.partition("Running now")[2].partition("Recent")[0]


def test_what_is_queued_says_that_no_worker_runs(alice, workflows):
    engine.send("test/nothing", {}, owner_id=alice.user.id)
    db.session.commit()
    assert "No worker is running." in text_of(alice)
