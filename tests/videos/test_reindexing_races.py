"""Edits while other things happen to the same video: nothing is lost, nothing is stuck, and search ends up right."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from app import engine
from app.db import db
from app.engine import testing
from app.errors import Permanent, Transient
from app.videos import queries, service, service_editing, service_transcript
from app.videos import queries_transcript as transcripts
from app.videos.models import Chunk, Transcript, Video
from app.videos.operations import SetText
from tests.videos.corrections import finds, follow, is_up_to_date, runs, served, write
from tests.videos.talks import SRT, again, give_transcript, make_video, say_uploaded

TEXT = "consistent hashing puts every server on a ring so that a key finds its place. "
LATER = Transient("Slow down.", retry_after=30)


@pytest.fixture
def video(alice, models, mails, tmp_path):
    made = make_video(alice.user, tmp_path, title="Rings")
    give_transcript(made, TEXT * 100, model="yes")
    models[1].calls.clear()
    return made


def once(models, act):
    """Do something inside the next call of the embedder, which searches make, too."""

    def on_call(_texts):
        models[1].on_call = None
        act()
        db.session.commit()

    models[1].on_call = on_call


def index_again(video):
    service.reprocess(again(video))
    db.session.commit()
    testing.drain()


def statuses_of(video, workflow="generate-embeddings"):
    return [run.status for run in engine.list_runs(subject=f"video:{video.id}", workflow=workflow)]


def assert_settled(video, status="completed"):
    assert again(video).status == status
    assert is_up_to_date(video)
    assert all(run.is_final for run in engine.list_runs())


def test_an_edit_while_the_video_is_indexed_for_the_first_time_is_followed(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    once(models, lambda: write(video, "quincunx"))
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")
    assert len(mails.sent) == 1


def test_an_edit_while_the_index_follows_the_one_before_is_followed_too(video, models):
    write(video, "first words")
    once(models, lambda: write(video, "quincunx"))
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")
    assert {run.status for run in runs(video)} == {"completed"}


def test_a_run_that_a_newer_one_has_overtaken_serves_nothing(video, models):
    models[1].script = [LATER]
    write(video, "first words")
    testing.clock.advance(6)
    testing.drain()
    write(video, "quincunx")
    testing.clock.advance(6)
    testing.drain()
    assert [run.status for run in runs(video)] == ["completed", "waiting"]
    assert served(video) == {again(video).transcript_id}
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")
    assert [run.output["outcome"] for run in runs(video)] == ["served", "replaced by another run"]


def test_index_again_while_the_index_follows(video, models):
    write(video, "quincunx")
    once(models, lambda: service.reprocess(again(video)))
    follow()
    assert_settled(video)
    assert "failed" not in statuses_of(video) + [run.status for run in runs(video)]


@pytest.mark.parametrize("ending", ["completed", "cancelled", "failed"])
def test_an_edit_while_it_is_indexed_again_is_followed_however_that_ends(video, models, ending):
    models[1].script = [LATER, Permanent("No.")] if ending == "failed" else [LATER]
    index_again(video)
    assert again(video).status == "embedding"
    write(video, "quincunx")
    testing.clock.advance(6)
    testing.drain()
    assert runs(video)[0].output["outcome"].startswith("another run is at work")
    if ending == "cancelled":
        service.cancel(again(video))
        db.session.commit()
    follow()
    assert_settled(video, ending)
    assert finds(video, "quincunx")


def test_a_retry_of_chunks_that_an_edit_has_overtaken_ends_well_and_keeps_the_edit(video, models, mails):
    models[1].script = [LATER, Permanent("No.")]
    index_again(video)
    write(video, "quincunx")
    follow()
    assert_settled(video, "failed")
    service.retry(again(video))
    db.session.commit()
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")


def test_a_batch_that_serves_a_newer_version_fails_no_video(video, models):
    models[1].script = [LATER]
    index_again(video)
    write(video, "quincunx")
    service_transcript.request_reprocess(video.owner_id, [video.id], force=True)
    db.session.commit()
    testing.drain()
    assert served(video) == {again(video).transcript_id}
    follow()
    assert_settled(video)
    assert statuses_of(video) == ["completed"]


def test_a_batch_that_an_edit_has_overtaken_leaves_the_edit(video, models):
    models[1].script = [LATER]
    service_transcript.request_reprocess(video.owner_id, [video.id], force=True)
    db.session.commit()
    testing.drain()
    write(video, "quincunx")
    testing.clock.advance(6)
    testing.drain()
    assert is_up_to_date(video) is False  # what the batch makes is there still
    assert served(video) == {again(video).transcript_id}
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")


def test_a_new_transcription_takes_the_place_of_an_edit_that_is_being_followed(video, models):
    models[1].script = [LATER]
    write(video, "quincunx")
    testing.clock.advance(6)
    testing.drain()
    service.transcribe_again(again(video))
    db.session.commit()
    testing.drain()
    assert again(video).status == "completed"
    follow()
    assert_settled(video)
    assert finds(video, "moon pulls")
    assert not finds(video, "quincunx")
    assert [run.output["outcome"] for run in runs(video)] == ["replaced by another run"]


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_an_edit_while_it_is_transcribed_again_is_followed_when_that_comes_to_nothing(video, models, ending):
    models[0].script = [LATER, Permanent("No.")]
    service.transcribe_again(again(video))
    db.session.commit()
    testing.drain()
    assert again(video).status == "transcribing"
    write(video, "quincunx")
    testing.clock.advance(6)
    testing.drain()
    if ending == "cancelled":
        service.cancel(again(video))
        db.session.commit()
    follow()
    assert_settled(video, ending)
    assert finds(video, "quincunx")
    models[0].script = []
    service.retry(again(video))
    db.session.commit()
    follow()
    assert_settled(video)
    numbers = db.session.scalars(sa.select(Transcript.source).where(Transcript.video_id == video.id))
    assert sorted(numbers) == ["edit", "model", "model"]


def test_what_was_never_indexed_waits_for_the_retry_and_is_paid_once(alice, models, mails, tmp_path):
    models[1].script = [Permanent("No.")]
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    follow()
    assert again(video).status == "failed"
    write(video, "quincunx")
    follow()
    assert len(models[1].calls) == 1
    assert runs(video)[0].output["outcome"].startswith("this transcript was never indexed")
    service.retry(again(video))
    db.session.commit()
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")
    assert [mail.subject[:5] for mail in mails.sent] == ["Not f", "Ready"]


def test_a_new_transcription_that_could_not_be_indexed_is_left_to_its_retry(video, models):
    models[1].script = [Permanent("No.")]
    service.transcribe_again(again(video))
    db.session.commit()
    follow()
    assert again(video).status == "failed"
    calls = len(models[1].calls)
    write(video, "quincunx")
    follow()
    assert len(models[1].calls) == calls
    assert finds(video, "consistent hashing")
    service.retry(again(video))
    db.session.commit()
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")


def test_captions_complete_a_video_that_could_not_be_transcribed(alice, models, mails, tmp_path):
    models[0].script = [Permanent("No.")]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    follow()
    assert again(video).status == "failed"
    service_editing.import_captions(again(video), SRT, "mine.srt")
    db.session.commit()
    follow()
    assert_settled(video)
    assert len(models[1].calls) == 1


def test_a_deletion_that_is_taken_back_loses_no_edit(video):
    write(video, "quincunx")
    service.delete(again(video))
    db.session.commit()
    testing.clock.advance(6)
    testing.drain()
    assert [run.status for run in runs(video)] == ["waiting"]
    service.restore(queries.find_deleted(video.owner_id, video.id))
    db.session.commit()
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")


@pytest.mark.parametrize("at", ["plan", "embed"])
def test_a_video_that_is_deleted_for_good_meanwhile_leaves_nothing_and_no_run(video, models, execute, at):
    models[1].script = [LATER]
    write(video, "quincunx")
    if at == "embed":
        testing.clock.advance(6)
        testing.drain()
    service.delete(again(video))
    db.session.commit()
    execute("UPDATE video SET deleted_at = deleted_at - interval '40 seconds'")
    video_id = video.id
    follow()
    assert not queries.exists(video_id)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Chunk)) == 0
    [run] = engine.list_runs(subject=f"video:{video_id}", workflow="reindex-transcript")
    assert (run.status, run.output["outcome"]) == ("completed", "the video was deleted")


def test_a_failed_run_that_is_rerun_makes_the_index_follow(video, models):
    models[1].script = [Permanent("No.")]
    write(video, "quincunx")
    follow()
    [failed] = runs(video)
    engine.rerun_from(failed.id, "batch[0]/embed")
    db.session.commit()
    follow()
    assert_settled(video)
    assert finds(video, "quincunx")


def test_a_run_that_is_cancelled_leaves_the_old_chunks_and_says_so(alice, video, models):
    models[1].script = [LATER]
    old = served(video)
    write(video, "quincunx")
    testing.clock.advance(6)
    testing.drain()
    engine.cancel(runs(video)[0].id)
    db.session.commit()
    follow()
    assert served(video) == old
    assert db.session.scalar(sa.select(sa.func.count()).where(Chunk.video_id == video.id, ~Chunk.is_served)) == 0
    assert "Search still finds the words of version 1." in alice.get(f"/videos/{video.id}").text


def test_two_runs_over_one_video_do_not_execute_at_once(app, video, models):
    seen = []

    def another_worker():
        with app.app_context():
            seen.append(testing.drain())

    def save_and_claim():
        write(video, "quincunx")
        testing.clock.advance(6)
        thread = threading.Thread(target=another_worker)
        thread.start()
        thread.join(60)

    write(video, "first words")
    once(models, save_and_claim)
    follow()
    assert seen == [[]]
    assert_settled(video)
    assert finds(video, "quincunx")


def test_of_two_saves_at_the_same_moment_one_is_told(app, video):
    base, gate, answers = again(video).transcript_id, threading.Barrier(2), []

    def edit(text):
        with app.app_context():
            found = db.session.get(Video, video.id)
            gate.wait(10)
            try:
                saved = service_editing.edit_transcript(found, base, [SetText(0, text)])
                db.session.commit()
                answers.append(saved.number)
            except service_editing.Outdated as error:
                db.session.rollback()
                answers.append(error.code)

    threads = [threading.Thread(target=edit, args=(text,)) for text in ("quincunx", "rendezvous")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["2", "transcript_changed"]
    follow()
    assert_settled(video)
    assert transcripts.list_cues(again(video).transcript_id)[0].text in ("quincunx", "rendezvous")
