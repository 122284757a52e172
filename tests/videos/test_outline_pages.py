"""The outline on a video's page, for programs and in exports."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from app.adapters import llm
from app.adapters.llm_fakes import FakeChat
from app.db import db
from app.engine import testing
from app.lib.ids import new_id
from app.videos import outline_pages, service_transcript
from app.videos import queries_transcript as queries
from app.videos.models import Outline, Segment, Transcript
from tests.videos.browsing import post
from tests.videos.talks import again, give_transcript, make_video

CHAPTERS = [
    {"segment": 0, "start_seconds": 0.0, "title": "The <moon> & the sea"},
    {"segment": 1, "start_seconds": 4.0, "title": "High tide"},
]


@pytest.fixture
def video(app, alice, models, tmp_path):
    llm.install(app, transcriber=models[0], embedder=models[1], chat=FakeChat())
    made = make_video(alice.user, tmp_path, sample="", title="talk-7.mp4")
    give_transcript(made, "The moon pulls on the sea every day. We call that high tide when water is high.")
    return again(made)


def write(video, **values):
    given = {
        "video_id": video.id, "transcript_id": video.transcript_id, "title": "Why the sea rises",
        "summary": "The moon pulls.", "chapters": CHAPTERS, "model": "gpt-5.5", "run_id": video.id,
    } | values  # fmt: skip
    db.session.add(Outline(**given))
    db.session.commit()


def page(client, video):
    return client.get(f"/videos/{video.id}").get_data(as_text=True)


def test_the_page_shows_summary_and_chapters_that_are_links_without_javascript(alice, video):
    write(video)
    shown = page(alice, video)
    assert "The moon pulls." in shown
    assert 'href="?t=4.0" data-chapter="4.0"' in shown
    assert "The &lt;moon&gt; &amp; the sea" in shown
    assert "Written by gpt-5.5" in shown
    assert "Extract" not in shown


def test_what_the_sandbox_made_is_called_an_extract(alice, video):
    write(video, model="sandbox-chat")
    assert "Extract, not a model&#39;s answer" in page(alice, video)
    assert alice.get(f"/api/videos/{video.id}/outline").json["is_extract"] is True


def test_the_suggested_title_is_taken_by_a_button_and_then_no_longer_suggested(alice, video):
    write(video)
    assert "Use this title" in page(alice, video)
    assert post(alice, f"/videos/{video.id}/use-title").status_code == 303
    assert again(video).title == "Why the sea rises"
    assert "Use this title" not in page(alice, video)


def test_without_a_suggestion_the_button_says_so(alice, video):
    answer = post(alice, f"/videos/{video.id}/use-title", follow_redirects=True)
    assert "No title was suggested." in answer.get_data(as_text=True)
    assert again(video).title == "talk-7.mp4"


def test_an_outline_of_an_older_transcript_says_so(alice, video):
    write(video, transcript_id=video.id)
    assert "Written from an earlier version of the transcript" in page(alice, video)


def test_a_video_that_was_never_described_offers_it_and_says_when_it_is_under_way(alice, video):
    testing.drain()  # the outline of its transcript fails: the model replied with nothing usable
    db.session.execute(Outline.__table__.delete())
    db.session.commit()
    assert post(alice, f"/videos/{video.id}/describe").status_code == 303
    assert "A summary and chapters are being written" in page(alice, video)
    assert "is being described already" in post(alice, f"/videos/{video.id}/describe", follow_redirects=True).get_data(
        as_text=True
    )


def test_without_a_model_and_an_outline_nothing_is_shown(app, alice, video):
    llm.install(app)
    with app.test_request_context():
        shown = outline_pages.fragment(video)
    assert "button" not in shown
    assert f'id="video-outline-{video.id}"' in shown  # what arrives later is put there


def test_programs_read_and_ask(alice, charlie, video):
    assert alice.get(f"/api/videos/{video.id}/outline").status_code == 404
    write(video)
    found = alice.get(f"/api/videos/{video.id}/outline").json
    assert found["chapters"] == CHAPTERS
    assert (found["title"], found["summary"], found["model"]) == ("Why the sea rises", "The moon pulls.", "gpt-5.5")
    assert charlie.get(f"/api/videos/{video.id}/outline").status_code == 404
    assert post(alice, f"/api/videos/{video.id}/describe").status_code in (202, 409)


def test_markdown_has_the_summary_and_a_heading_for_each_chapter(alice, video):
    write(video)
    starts = [start for _, start, _ in queries.list_numbered(video.transcript_id)]
    db.session.query(Outline).update({"chapters": [CHAPTERS[0], {**CHAPTERS[1], "start_seconds": starts[1]}]})
    db.session.commit()
    text = alice.get(f"/api/videos/{video.id}/transcript.md").get_data(as_text=True)
    parts = text.split("\n\n")
    assert parts[:3] == ["# talk-7.mp4", "The moon pulls.", r"## The \<moon\> & the sea"]
    assert parts[4] == "## High tide"
    assert "?t=" in parts[3]
    assert "?t=" in parts[5]


def test_chapters_are_a_track_for_players(alice, video):
    assert alice.get(f"/api/videos/{video.id}/chapters.vtt").status_code == 404
    write(video)
    answer = alice.get(f"/api/videos/{video.id}/chapters.vtt")
    assert answer.content_type.startswith("text/vtt")
    assert "00:00:00.000 --> 00:00:04.000\nThe &lt;moon&gt; &amp; the sea" in answer.get_data(as_text=True)
    assert "00:00:04.000 --> 00:01:15.000\nHigh tide" in answer.get_data(as_text=True)


def test_after_an_edit_chapters_keep_their_times_and_name_the_segments_where_these_are_now(alice, video):
    starts = [start for _, start, _ in queries.list_numbered(video.transcript_id)]
    chapters = [{**each, "start_seconds": starts[each["segment"]]} for each in CHAPTERS]
    write(video, chapters=chapters, transcript_id=video.transcript_id)
    assert [each["segment"] for each in alice.get(f"/api/videos/{video.id}/outline").json["chapters"]] == [0, 1]
    before = queries.list_cues(video.transcript_id)
    halves = [
        dataclasses.replace(before[0], end=before[0].start + 1),
        dataclasses.replace(before[0], start=before[0].start + 1),
    ]
    show_version(video, [*halves, *before[1:]])  # the first cue is split
    found = alice.get(f"/api/videos/{video.id}/outline").json
    assert found["is_older"] is True
    assert [each["segment"] for each in found["chapters"]] == [0, 2]
    assert [each["start_seconds"] for each in found["chapters"]] == starts[:2]
    show_version(video, [dataclasses.replace(before[0], end=before[-1].end)])  # all are merged
    found = alice.get(f"/api/videos/{video.id}/outline").json
    assert [each["segment"] for each in found["chapters"]] == [0, 0]
    assert f'data-chapter="{starts[1]}"' in page(alice, video)
    text = alice.get(f"/api/videos/{video.id}/transcript.md").get_data(as_text=True)
    assert text.count("## ") == 2
    show_version(video, [])
    assert alice.get(f"/api/videos/{video.id}/outline").status_code == 200


def show_version(video, cues):
    """Show cues as a new version, as an edit does."""
    version = Transcript(
        id=new_id(), video_id=video.id, number=queries.next_number(video.id), source="edit", model="test", language="en"
    )
    db.session.add(version)
    db.session.flush()
    if cues:
        rows = [service_transcript._segment(version.id, number, cue) for number, cue in enumerate(cues)]
        db.session.execute(sa.insert(Segment), rows)
    again(video).transcript_id = version.id
    db.session.commit()
