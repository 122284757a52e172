"""Retry, cancel, reprocess and transcribe again through the API, to the end of the pipeline."""

from __future__ import annotations

import re

import pytest

from app import engine
from app.db import db
from app.engine import testing
from app.errors import Permanent, Transient
from app.videos import queries_transcript as queries
from app.videos import service
from tests.videos.browsing import post
from tests.videos.talks import SRT, TEXT_ONLY, again, make_video, say_uploaded

pytestmark = pytest.mark.usefixtures("mails")


def finished(alice, tmp_path, **values):
    video = make_video(alice.user, tmp_path, **values)
    say_uploaded(video)
    testing.drain(advance=True)
    return video


def test_a_retry_through_the_api_goes_on_at_the_failed_piece(alice, models, tmp_path):
    models[0].capabilities = TEXT_ONLY
    models[0].script = ["The sea rises.", Permanent("The key was refused."), "It falls."]
    video = finished(alice, tmp_path)
    shown = alice.get(f"/api/videos/{video.id}").json
    assert (shown["status"], shown["error"]["message"]) == ("failed", "The key was refused.")
    heard_before = len(models[0].calls)
    assert post(alice, f"/api/videos/{video.id}/retry").json["status"] == "transcribing"
    testing.drain(advance=True)
    assert alice.get(f"/api/videos/{video.id}").json["status"] == "completed"
    assert models[0].calls[heard_before].prompt == "The sea rises."
    text = alice.get(f"/api/videos/{video.id}/transcript.txt").text
    assert text.index("The sea rises.") < text.index("It falls.")


def test_a_retry_waits_for_the_step_in_hand_of_what_was_cancelled(alice, models, tmp_path):
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    seen = []
    listen = models[0].transcribe

    def cancel_and_retry(*args, **kwargs):
        if not seen:
            seen.append("cancelled")
            post(alice, f"/api/videos/{video.id}/cancel")
            post(alice, f"/api/videos/{video.id}/retry")
            testing.drain()  # another worker looks for work
            message = alice.get(f"/api/videos/{video.id}").json["progress"]["message"]
            runs = engine.list_runs(workflow="transcribe-video")
            seen.extend([message, *(run.status for run in runs)])
        return listen(*args, **kwargs)

    models[0].transcribe = cancel_and_retry
    testing.drain()
    assert seen == ["cancelled", "Waiting for a step in hand to end", "queued", "running"]
    testing.drain(advance=True)
    assert alice.get(f"/api/videos/{video.id}").json["status"] == "completed"


def test_the_progress_of_a_retry_counts_no_step_of_the_try_before(alice, models, tmp_path):
    models[0].script = [Transient("Slow down.", retry_after=60)] * 2
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    post(alice, f"/api/videos/{video.id}/cancel")
    post(alice, f"/api/videos/{video.id}/retry")
    testing.drain()
    found = alice.get(f"/api/videos/{video.id}").json["progress"]
    assert (found["current_step"], found["completed_steps"]) == ("transcribe", ["prepare", "extract-audio"])
    testing.drain(advance=True)  # other tests look for files that runs have left


def test_a_retry_through_the_api_goes_on_at_the_failed_embedding(alice, models, tmp_path):
    models[1].script = [Permanent("The key was refused.")]
    video = finished(alice, tmp_path)
    assert post(alice, f"/api/videos/{video.id}/retry").json["status"] == "embedding"
    testing.drain(advance=True)
    assert alice.get(f"/api/videos/{video.id}").json["status"] == "completed"
    assert len(models[0].calls) == 1  # nothing is transcribed twice
    assert alice.get("/api/search?q=moon").json["results"][0]["video_id"] == str(video.id)


def test_reprocess_through_the_api_serves_the_old_index_until_the_new_one_is_complete(alice, models, mails, tmp_path):
    video = finished(alice, tmp_path)
    (before,) = queries.list_chunks(again(video))
    before_id, mails_before = before.id, len(mails.sent)
    assert post(alice, f"/api/videos/{video.id}/reprocess").status_code == 200
    models[1].script = [Transient("Slow down.", retry_after=30)]
    testing.drain()
    assert alice.get("/api/search?q=moon").json["results"]
    testing.drain(advance=True)
    (after,) = queries.list_chunks(again(video))
    assert after.id != before_id
    assert again(video).status == "completed"
    assert len(models[0].calls) == 1
    assert len(mails.sent) == mails_before  # nobody is told of what they asked for themselves


def test_reprocess_is_seen_at_once_can_be_cancelled_and_is_done_once(alice, models, tmp_path):
    video = finished(alice, tmp_path, captions=SRT)
    verb = f"/api/videos/{video.id}"
    assert post(alice, f"{verb}/reprocess").json["status"] == "pending"
    assert post(alice, f"{verb}/reprocess").status_code == 409
    assert post(alice, f"{verb}/cancel").json["status"] == "cancelled"
    testing.drain(advance=True)
    assert again(video).status == "cancelled"
    assert post(alice, f"{verb}/reprocess").status_code == 200
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[1].calls) == 2


def test_transcribe_again_listens_although_there_are_captions(alice, models, tmp_path):
    video = finished(alice, tmp_path, captions=SRT)
    assert models[0].calls == []
    assert post(alice, f"/videos/{video.id}/transcribe-again").status_code == 303
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[0].calls) == 1
    assert "moon" in alice.get(f"/api/videos/{video.id}/transcript.txt").text
    assert not alice.get("/api/search?q=consistent").json["results"]
    assert alice.get("/api/search?q=moon").json["results"]


def test_transcribe_again_that_was_cancelled_still_listens_when_it_is_retried(alice, models, tmp_path):
    video = finished(alice, tmp_path, captions=SRT)
    post(alice, f"/videos/{video.id}/transcribe-again")
    assert post(alice, f"/api/videos/{video.id}/cancel").status_code == 200
    assert post(alice, f"/api/videos/{video.id}/retry").status_code == 200
    testing.drain(advance=True)
    assert "moon" in alice.get(f"/api/videos/{video.id}/transcript.txt").text


def test_a_retry_right_after_a_cancel_is_not_ended_by_the_run_that_was_cancelled(alice, models, tmp_path):
    models[0].script = [Transient("Later.", retry_after=60)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    service.cancel(again(video))
    service.retry(again(video))  # before what tidies up after the cancelled run has run
    db.session.commit()
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert engine.list_runs(subject=f"video:{video.id}", workflow="transcribe-video", status="cancelled")


@pytest.mark.parametrize(
    ("price", "said"), [(6_000, "about $0.0075"), (6_000_000, "about $7.50"), (0, "costs nothing")]
)
def test_what_transcribing_again_costs_is_said_before(app, alice, models, tmp_path, monkeypatch, price, said):  # noqa: PLR0917
    monkeypatch.setattr(app, "settings", app.settings.but(audio_price_microusd_per_minute=price))
    video = make_video(alice.user, tmp_path)  # 75 seconds
    dialog = re.search(r'<dialog class="dialog" id="transcribe-again".*?</dialog>', page_of(alice, video), re.DOTALL)[0]
    assert said in dialog
    assert f'action="/videos/{video.id}/transcribe-again"' in dialog
    assert "Captions" in dialog


def page_of(browser, video):
    return browser.get(f"/videos/{video.id}").text


def test_a_batch_of_more_videos_than_fit_is_refused_not_cut(alice):
    ids = ["00000000-0000-7000-8000-000000000000"] * 1001
    answer = post(alice, "/api/videos/reprocess-embeddings", json={"video_ids": ids})
    assert answer.status_code == 422
    assert "1000" in answer.json["message"]


def test_a_retry_on_the_page_of_its_run_brings_the_video_along(alice, models, tmp_path):
    """Left as it was, the video would refuse what the run made, and stay failed with all of it paid."""
    models[0].capabilities = TEXT_ONLY
    models[0].script = ["The sea rises.", Permanent("The key was refused."), "It falls."]
    video = finished(alice, tmp_path)
    failed = engine.list_runs(workflow="transcribe-video", limit=1)[0]
    step = next(each.key for each in engine.list_steps(failed.id) if each.status == "failed")
    assert post(alice, f"/runs/{failed.id}/rerun", data={"step": step}).status_code == 303
    assert again(video).status == "transcribing"
    assert post(alice, f"/runs/{failed.id}/rerun", data={"step": step}).status_code == 409
    testing.drain(advance=True)
    assert again(video).status == "completed"


def test_tidying_up_again_after_a_transcription_leaves_the_video_as_it_is(alice, models, tmp_path):
    video = finished(alice, tmp_path)
    done = engine.list_runs(workflow="transcribe-video", limit=1)[0]
    assert post(alice, f"/runs/{done.id}/rerun", data={"step": "remove-files"}).status_code == 303
    testing.drain(advance=True)
    assert again(video).status == "completed"


def test_a_run_whose_chunks_were_replaced_ends_its_video_and_a_retry_begins_anew(alice, models, tmp_path):
    """Nobody else is at work on it, so nobody else would."""
    video = finished(alice, tmp_path)
    old = engine.list_runs(workflow="generate-embeddings", limit=1)[0]
    post(alice, f"/api/videos/{video.id}/reprocess")
    testing.drain(advance=True)
    batch = next(each.key for each in engine.list_steps(old.id) if each.key.endswith("/embed"))
    post(alice, f"/runs/{old.id}/rerun", data={"step": batch})
    testing.drain(advance=True)
    assert (again(video).status, again(video).error_code) == ("failed", "video_busy")
    assert alice.get("/api/search?q=moon").json["results"]
    post(alice, f"/api/videos/{video.id}/retry")
    testing.drain(advance=True)
    assert again(video).status == "completed"
