"""What pausing, resuming and replaying its runs does to a video: no status is left wrong, nothing is paid twice."""

from __future__ import annotations

import pytest

from app import engine
from app.db import db
from app.engine import testing
from app.errors import Transient
from app.videos import endings, events, service
from tests.videos.browsing import post
from tests.videos.talks import TEXT_ONLY, again, make_video, say_uploaded

pytestmark = pytest.mark.usefixtures("mails")


EXPIRE = """
UPDATE run SET status = 'running', lease_until = now() - interval '1 h', recoveries = 5, steps_at_recovery = 99
WHERE id = :id
"""


@pytest.fixture
def paused(alice, models, tmp_path):
    """A video whose transcription backs off and is paused meanwhile."""
    models[0].script = [Transient("Slow down.", retry_after=60)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    assert post(alice, f"/runs/{the_run(video).id}/pause").status_code == 303
    return video


def the_run(video, name="transcribe-video"):
    return engine.list_runs(subject=f"video:{video.id}", workflow=name, limit=1)[0]


def finished(alice, tmp_path):
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    return video


def give_up(execute, video, name="transcribe-video"):
    """End a run as one that lost its worker too often ends."""
    run = the_run(video, name)
    execute(EXPIRE, id=run.id)
    testing.drain()
    assert engine.get_run(run.id).status == "dead"
    return run


def test_a_paused_video_says_so_everywhere_and_goes_on_where_it_was(alice, paused, models):
    run = the_run(paused)
    assert alice.get(f"/api/videos/{paused.id}").json["progress"]["message"].startswith("Paused")
    page = alice.get(f"/videos/{paused.id}").text
    assert "Open the paused run" in page
    for text in (page, alice.get("/videos").text, alice.get("/").text):
        assert ">Paused<" in text.replace("</svg>", ">")
        assert "Transcribing" not in text
    testing.drain(advance=True)
    assert again(paused).status == "transcribing"
    assert post(alice, f"/runs/{run.id}/resume").status_code == 303
    testing.drain(advance=True)
    assert again(paused).status == "completed"
    assert len(models[0].calls) == 2  # the one that was refused, and the one that was answered


def test_a_paused_video_can_be_cancelled_and_deleted(alice, paused):
    assert post(alice, f"/api/videos/{paused.id}/cancel").json["status"] == "cancelled"
    assert the_run(paused).status == "cancelled"
    testing.drain(advance=True)
    assert again(paused).status == "cancelled"


@pytest.mark.parametrize("name", events.PIPELINE)
def test_a_run_that_gives_a_video_its_status_is_not_replayed(alice, models, tmp_path, name):
    video = finished(alice, tmp_path)
    run = the_run(video, name)
    assert "Replay" not in alice.get(f"/runs/{run.id}").text
    answer = post(alice, f"/api/runs/{run.id}/replay")
    assert answer.status_code == 409
    assert "Its video decides" in answer.json["message"]
    testing.drain(advance=True)
    assert (again(video).status, len(models[0].calls), len(models[1].calls)) == ("completed", 1, 1)


def test_embedding_many_again_is_replayed_only_where_it_pays_for_nothing_twice(alice, models, tmp_path):
    video = finished(alice, tmp_path)
    statuses = {}
    for is_forced in (False, True):
        service.request_reprocess(alice.user.id, [video.id], force=is_forced)
        db.session.commit()
        testing.drain(advance=True)
        calls = len(models[1].calls)
        run = engine.list_runs(workflow="reprocess-embeddings", limit=1)[0]
        statuses[is_forced] = post(alice, f"/api/runs/{run.id}/replay").status_code
        testing.drain(advance=True)
        assert len(models[1].calls) == calls
    assert statuses == {False: 201, True: 409}


def test_a_given_up_transcription_tries_anew_with_its_video_and_pays_for_nothing_twice(
    alice, models, tmp_path, execute
):
    models[0].capabilities = TEXT_ONLY
    models[0].script = ["The sea rises.", Transient("Slow down.", retry_after=600)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    run = give_up(execute, video)
    assert again(video).status == "failed"
    heard = len(models[0].calls)
    assert post(alice, f"/runs/{run.id}/resume").status_code == 303
    assert again(video).status in ("pending", "transcribing")
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert models[0].calls[heard].prompt == "The sea rises."
    assert engine.get_run(run.id).status == "completed"


def test_a_given_up_run_is_left_when_its_video_was_worked_on_since(alice, models, tmp_path, execute):
    models[0].script = [Transient("Slow down.", retry_after=600)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    run = give_up(execute, video)
    assert post(alice, f"/api/videos/{video.id}/retry").status_code == 200
    assert post(alice, f"/api/runs/{run.id}/resume").status_code == 409
    testing.drain(advance=True)
    answer = post(alice, f"/api/runs/{run.id}/resume")
    assert answer.status_code == 409
    assert "worked on since" in answer.json["message"]
    assert again(video).status == "completed"
    assert engine.get_run(run.id).status == "dead"


def test_what_cleans_up_after_a_given_up_run_leaves_one_that_was_resumed_meanwhile_alone(
    alice, models, tmp_path, execute
):
    models[0].script = [Transient("Slow down.", retry_after=600)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    run = give_up(execute, video)
    assert post(alice, f"/runs/{run.id}/resume").status_code == 303
    endings.end_badly(alice.user.id, video.id, run.id, "dead", None)  # a hook that was held up
    db.session.commit()
    testing.drain(advance=True)
    assert again(video).status == "completed"


def test_no_workflow_that_gives_a_video_its_status_can_be_skipped_or_held_back():
    """Nothing would end the video."""
    for name in events.PIPELINE:
        found = testing.registry.by_name[name]
        assert (found.singleton, found.rate_limit, found.debounce) == (None, None, None), name
