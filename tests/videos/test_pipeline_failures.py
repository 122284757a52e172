"""What the pipeline does when something fails, is cancelled or dies: it says so, and nothing is paid twice."""

from __future__ import annotations

import errno
import tempfile

import pytest

from app import engine
from app.adapters import llm
from app.db import db
from app.engine import testing
from app.errors import Permanent, Transient
from app.videos import events, service, service_search, service_transcript
from app.videos import queries_transcript as queries
from tests.videos.talks import (
    SRT,
    TEXT_ONLY,
    again,
    files_of_runs,
    make_video,
    say_uploaded,
    usage,
)


def test_malformed_captions_fail_with_the_line(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=b"1\n00:00:0x,000 --> 00:00:01,000\nhi\n")
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert "line 2" in again(video).error_message
    assert again(video).error_code == "malformed_captions"
    assert models[0].calls == []
    assert [mail.subject for mail in mails.sent] == ["Not finished: Why the tide comes in twice a day"]
    assert "line 2" in mails.sent[0].text


def test_a_language_the_model_does_not_know_is_refused_before_any_work(alice, models, mails, tmp_path):
    models[0].capabilities = llm.Capabilities(has_times=True, max_bytes=1 << 20, languages=("en",))
    video = make_video(alice.user, tmp_path, language="fr")
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert again(video).error_code == "language_not_supported"
    assert "caption file" in again(video).error_message
    assert models[0].calls == []


def test_a_busy_model_is_asked_again_later_and_nothing_is_paid_twice(alice, models, mails, history, tmp_path):
    models[0].script = [Transient("Slow down.", retry_after=30)]
    models[1].script = [Transient("Slow down.", retry_after=30)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    assert again(video).status == "transcribing"
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[0].calls) == 2
    assert len(usage("transcription")) == 1
    assert len(usage("embeddings")) == 1
    assert len(mails.sent) == 1


def test_a_refusal_fails_with_what_to_do_and_a_retry_goes_on(app, alice, models, mails, history, tmp_path):  # noqa: PLR0917
    models[1].script = [Permanent("The key was refused. Ask an administrator to check it.")]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert again(video).error_message == "The key was refused. Ask an administrator to check it."
    assert queries.list_chunks(again(video)) == []
    assert len(mails.sent) == 1
    testing.assert_sent(events.FAILED, video_id=str(video.id))
    service_transcript.request_chunks(again(video))
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[0].calls) == 1


def test_a_retry_goes_on_at_the_failed_piece_and_pays_for_nothing_twice(app, alice, models, mails, history, tmp_path):  # noqa: PLR0917
    models[0].capabilities = TEXT_ONLY
    models[0].script = ["The sea rises.", Permanent("No."), "It falls."]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert files_of_runs(app) == []
    before = len(models[0].calls)
    service.retry(again(video))
    assert again(video).status == "transcribing"
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert models[0].calls[before].prompt == "The sea rises."
    text = " ".join(line.text for line in queries.list_lines(again(video).transcript_id))
    assert "The sea rises." in text
    assert "It falls." in text
    assert files_of_runs(app) == []


def test_a_retry_goes_on_at_the_failed_batch(app, alice, models, mails, tmp_path):
    models[1].script = [Permanent("No.")]
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    service.retry(again(video))
    assert again(video).status == "embedding"
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(queries.list_chunks(again(video))) == 1
    assert service_search.search_videos(alice.user.id, "consistent hashing")
    assert engine.list_runs(workflow="generate-embeddings")[0].forked_from is not None


def test_files_of_a_failed_transcription_are_removed(app, alice, models, mails, tmp_path):
    models[0].otherwise = Permanent("No.")
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert files_of_runs(app) == []


def test_a_disk_that_is_full_during_a_step_is_waited_for_and_then_said(alice, models, mails, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryDirectory", full)
        testing.drain(advance=True)
    assert again(video).error_code == "storage_full"
    assert "no room" in again(video).error_message
    service.retry(again(video))
    testing.drain(advance=True)
    assert again(video).status == "completed"


def test_an_unforeseen_error_reads_as_a_sentence(alice, models, mails, tmp_path):
    models[0].otherwise = ZeroDivisionError("secret detail")
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert "secret" not in again(video).error_message
    assert "Retry" in again(video).error_message
    assert len(models[0].calls) == 3


def test_a_cancelled_run_leaves_the_video_cancelled_and_sends_no_mail(app, alice, models, mails, tmp_path):
    models[0].script = [Transient("Later.", retry_after=60)]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    run = engine.list_runs(subject=f"video:{video.id}")[0]
    engine.cancel(run.id, "by its owner")
    db.session.commit()
    testing.drain(advance=True)
    assert again(video).status == "cancelled"
    assert mails.sent == []
    assert files_of_runs(app) == []


@pytest.mark.parametrize(
    "step", ["prepare", "extract-audio", "section[0]/piece", "section[0]/align", "save-transcript"]
)
def test_a_crash_after_any_step_costs_no_second_call(app, alice, models, mails, step, tmp_path):  # noqa: PLR0917
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    with testing.crash_after(step):
        testing.drain()
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[0].calls) == 1
    assert len(models[1].calls) == 1
    assert len(mails.sent) == 1
    assert files_of_runs(app) == []


@pytest.mark.parametrize("step", ["prepare", "chunk", "batch[0]/embed", "complete"])
def test_a_crash_while_embedding_costs_no_second_call(alice, models, mails, step, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    with testing.crash_after(step):
        testing.drain()
    testing.drain(advance=True)
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(models[1].calls) == 1
    assert len(mails.sent) == 1


def test_a_video_deleted_meanwhile_ends_quietly(alice, models, mails, tmp_path, execute):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    execute("UPDATE video SET deleted_at = now() WHERE id = :id", id=video.id)
    testing.drain(advance=True)
    assert mails.sent == []
    assert engine.list_runs(workflow="transcribe-video")[0].status == "failed"


def test_no_budget_means_no_call(app, alice, models, mails, tmp_path, monkeypatch):  # noqa: PLR0917
    monkeypatch.setattr(app, "settings", app.settings.but(budget_person_microusd=10))
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert models[0].calls == []
    assert again(video).status == "failed"
    assert again(video).error_code == "over_budget"


def test_a_video_of_somebody_else_is_none_to_a_workflow(alice, charlie, models, mails, tmp_path):
    """The event's owner is the server's word; what its data name may be anybody's."""
    video = make_video(alice.user, tmp_path, captions=SRT)
    engine.send(events.UPLOADED, {"video_id": str(video.id)}, owner_id=charlie.user.id)
    testing.drain(advance=True)
    [run] = engine.list_runs(workflow="transcribe-video")
    assert (run.status, run.error["code"]) == ("failed", "not_found")
    assert (again(video).status, again(video).transcript_id, mails.sent) == ("pending", None, [])
