"""Deleting a video: gone from sight at once, back within 30 seconds, gone for good after."""

import pytest
import sqlalchemy as sa

from app import engine
from app.adapters import cache
from app.db import db
from app.engine import testing
from app.errors import Conflict
from app.videos import events, queries, service
from app.videos.models import Video
from tests.videos.browsing import post, post_video
from tests.videos.media_files import make_media
from tests.videos.talks import give_transcript, make_video


@pytest.fixture
def video(alice, tmp_path):
    answer = post_video(alice, make_media(tmp_path / "talk.mp4").read_bytes())
    return queries.get_for(alice.user, answer.json["id"])


def test_a_deleted_video_is_out_of_sight_and_its_runs_are_cancelled(alice, video):
    answer = post(alice, f"/videos/{video.id}/delete")
    assert answer.status_code == 303
    assert alice.get(f"/api/videos/{video.id}").status_code == 404
    assert "Undo" in alice.get(answer.location).text
    runs = [run for run in engine.list_runs(subject=f"video:{video.id}") if run.workflow == "transcribe-video"]
    assert {run.status for run in runs} <= {"cancelled"}


def test_it_can_be_taken_back(alice, video):
    post(alice, f"/videos/{video.id}/delete")
    post(alice, f"/videos/{video.id}/restore")
    assert alice.get(f"/api/videos/{video.id}").status_code == 200
    assert service.purge_files(video.owner_id, video.id) == "kept"


def test_after_30_seconds_it_is_too_late(alice, video, execute):
    post(alice, f"/videos/{video.id}/delete")
    execute("UPDATE video SET deleted_at = deleted_at - interval '31 seconds'")
    with pytest.raises(Conflict, match="too late"):
        service.restore(queries.find_deleted(alice.user.id, video.id))


def test_before_30_seconds_nothing_is_removed(alice, app, video):
    post(alice, f"/videos/{video.id}/delete")
    with pytest.raises(engine.RetryAfter):
        service.purge_files(video.owner_id, video.id)
    assert app.extensions["throughline.storage"].exists(video.storage_key)


def test_it_sleeps_until_then_and_no_try_of_a_step_fails(alice, video, execute):
    post(alice, f"/videos/{video.id}/delete")
    testing.drain()
    (run,) = engine.list_runs(workflow="purge-video")
    assert (run.status, [(step.key, step.kind) for step in engine.list_steps(run.id)]) == (
        "waiting",
        [("undo", "sleep")],
    )
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    testing.clock.advance(32)
    testing.drain()
    assert [len(step.attempts) for step in engine.list_steps(run.id)] == [0, 0, 0]
    assert engine.get_run(run.id).output == {"files": "removed", "videos": 1}


def test_one_taken_back_and_deleted_anew_has_its_30_seconds_again(alice, app, video, execute):
    key = video.storage_key
    for verb in ("delete", "restore", "delete"):
        post(alice, f"/videos/{video.id}/{verb}")
    testing.clock.advance(32)  # the engine's clock alone: the second deletion is young
    testing.drain()
    assert app.extensions["throughline.storage"].exists(key)
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    testing.drain(advance=True)
    assert not app.extensions["throughline.storage"].exists(key)


def test_what_models_answered_about_it_is_forgotten(alice, charlie, video, execute):
    for browser in (alice, charlie):
        cache.keep(browser.user.id, "a" * 64, {"text": "what was said in it"})
    post(alice, f"/videos/{video.id}/delete")
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    testing.drain(advance=True)
    assert cache.find(alice.user.id, "a" * 64) is None
    assert cache.find(charlie.user.id, "a" * 64) is not None


def test_transcripts_chunks_and_vectors_of_every_version_go_and_those_of_others_stay(alice, models, tmp_path, execute):
    gone, kept = make_video(alice.user, tmp_path), make_video(alice.user, tmp_path)
    for text in ("The first version.", "The second version."):
        give_transcript(gone, text, model=models[1].model)
    give_transcript(kept, "Another talk.", model=models[1].model)
    post(alice, f"/videos/{gone.id}/delete")
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    testing.drain(advance=True)
    for table, rows in (("video", 1), ("transcript", 1), ("segment", 1), ("chunk", 1)):
        assert execute(f"SELECT count(*) FROM {table}").scalar() == rows, table
    assert not alice.get("/api/search?q=version").json["results"]
    assert alice.get("/api/search?q=another").json["results"]


def test_then_files_rows_and_uploads_are_gone(alice, app, video, execute):
    post(alice, f"/videos/{video.id}/delete")
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    key = video.storage_key
    testing.drain(advance=True)
    (run,) = engine.list_runs(workflow="purge-video")
    assert run.output == {"files": "removed", "videos": 1}
    assert not app.extensions["throughline.storage"].exists(key)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Video)) == 0
    assert queries.stored_bytes(alice.user.id) == 0


def test_strangers_cannot_delete_or_restore(alice, charlie, root, video):
    for browser in (charlie, root):
        assert post(browser, f"/videos/{video.id}/delete").status_code == 404
    post(alice, f"/videos/{video.id}/delete")
    for browser in (charlie, root):
        assert post(browser, f"/videos/{video.id}/restore").status_code == 404


def test_the_waveform_of_a_new_video_is_drawn(alice, video):
    from jobs.library import draw_waveform

    run = testing.run_workflow(draw_waveform, events.payload(video, "request"), owner_id=video.owner_id)
    assert run.subject == f"video:{video.id}"  # so that the list of runs names the talk
    assert run.output["points"] > 900
    db.session.refresh(video)
    assert 0.4 < max(video.waveform) <= 1
