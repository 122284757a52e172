"""After a real provider was set: what the sandbox made is counted, priced, and made again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app import engine
from app.accounts.models import UsageEntry
from app.adapters import llm
from app.adapters.llm_fakes import FakeChat, FakeEmbedder, FakeTranscriber
from app.db import db
from app.engine import testing
from app.errors import Permanent
from app.lib.ids import new_id
from app.settings import Provider
from app.videos import events, renewing, service, service_search
from app.videos import queries_transcript as queries
from app.videos.models import Segment, Transcript
from tests.test_looks import assert_well_formed
from tests.videos.browsing import post
from tests.videos.talks import SRT, again, give_transcript, heard, make_video, say_uploaded

DRAFT = "the moon pulls on everything on earth"
BETTER = "a lighthouse keeper counts every passing ship"
REAL = {
    "transcription": Provider("", "k", "gpt-transcribe"),
    "embeddings": Provider("", "k", "text-embedding-3-small"),
}
SANDBOX = {
    "transcription": Provider("http://127.0.0.1:9/v1", "sandbox", "sandbox-transcribe", is_sandbox=True),
    "embeddings": Provider("http://127.0.0.1:9/v1", "sandbox", "sandbox-embed", is_sandbox=True),
}


@pytest.fixture
def provider(app, models):
    """Set who transcribes and embeds: the sandbox at first, as far as names tell; `provider("real")` changes it."""
    before = app.settings

    def change(to, *, only=(), **changes):
        wanted = REAL if to == "real" else SANDBOX
        chosen = {name: each for name, each in wanted.items() if not only or name in only}
        app.settings = app.settings.but(**chosen, **changes)
        transcriber = FakeTranscriber(
            otherwise=heard(BETTER if to == "real" else DRAFT, seconds=70), model=app.settings.transcription.model
        )
        embedder = FakeEmbedder(model=app.settings.embeddings.model)
        llm.install(app, transcriber=transcriber, embedder=embedder)
        return transcriber, embedder

    change("sandbox")
    yield change
    app.settings = before


def heard_by_sandbox(alice, tmp_path, **more):
    video = make_video(alice.user, tmp_path, **more)
    say_uploaded(video)
    testing.drain(advance=True)
    return again(video)


def captioned(alice, tmp_path):
    return heard_by_sandbox(alice, tmp_path, captions=SRT, title="Captioned")


def correct(video):
    """Make a version of the transcript as the editor does: the words are still those of its model."""
    shown = queries.get_transcript(video)
    version = Transcript(
        id=new_id(), video_id=video.id, number=shown.number + 1, source="edit", model=shown.model,
        language="en", base_id=shown.id,
    )  # fmt: skip
    db.session.add(version)
    db.session.flush()
    db.session.add(Segment(transcript_id=version.id, index=0, start_seconds=0, end_seconds=2, text="Corrected."))
    video.transcript_id = version.id
    db.session.commit()
    return again(video)


def library(client):
    return client.get("/videos").get_data(as_text=True)


def model_of(video):
    return queries.get_transcript(again(video)).model


def vectors_of(video):
    return {chunk.model for chunk in queries.list_chunks(again(video))}


def starts():
    return len(testing.sent_events(events.RENEW_REQUESTED))


def test_while_the_sandbox_is_in_use_nothing_is_offered(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    assert (model_of(video), vectors_of(video)) == ("sandbox-transcribe", {"sandbox-embed"})
    assert "made by the sandbox" not in library(alice)
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert starts() == 0


def test_the_banner_counts_and_says_about_what_it_costs_on_library_and_home(alice, charlie, provider, mails, tmp_path):
    for name in ("one", "two"):
        heard_by_sandbox(alice, tmp_path, title=name, duration_seconds=600.0)
    provider("real", audio_price_microusd_per_minute=4_500)
    home = alice.get("/").get_data(as_text=True)
    assert_well_formed(home)
    for page in (library(alice), home):
        assert "2 videos were made by the sandbox: transcribe again, about $0.09" in page
        assert "gpt-transcribe" in page
    assert "made by the sandbox" not in library(charlie)


def test_a_video_of_captions_is_not_transcribed_again_but_indexed(alice, provider, mails, tmp_path):
    spoken, written = heard_by_sandbox(alice, tmp_path), captioned(alice, tmp_path)
    provider("real")
    found = renewing.find(alice.user.id)
    assert (found.transcribe, found.index) == ((spoken.id,), (written.id,))
    shown = queries.get_transcript(written).id
    assert post(alice, "/videos/renew").status_code == 303
    testing.drain(advance=True)
    assert (model_of(spoken), vectors_of(spoken)) == ("gpt-transcribe", {"text-embedding-3-small"})
    assert (again(written).transcript_id, vectors_of(written)) == (shown, {"text-embedding-3-small"})
    assert renewing.find(alice.user.id).count == 0
    assert "made by the sandbox" not in library(alice)
    assert "Transcribed again: 1 done." in library(alice)


def test_with_captions_only_it_is_called_indexing(alice, provider, mails, tmp_path):
    captioned(alice, tmp_path)
    provider("real")
    assert "1 video was made by the sandbox: index again, about" in library(alice)


def test_where_only_embeddings_have_a_provider_only_the_index_is_made_again(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    provider("real", only=("embeddings",))
    found = renewing.find(alice.user.id)
    assert (found.transcribe, found.index) == ((), (video.id,))
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert (model_of(video), vectors_of(video)) == ("sandbox-transcribe", {"text-embedding-3-small"})


def test_what_was_corrected_by_hand_is_left_alone_and_said(alice, provider, mails, tmp_path):
    heard_by_sandbox(alice, tmp_path)
    fixed = correct(heard_by_sandbox(alice, tmp_path))
    provider("real")
    page = library(alice)
    assert "1 more video that you corrected by hand stays as it is" in page
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert again(fixed).transcript_id == fixed.transcript_id
    assert "Transcribe again, about" in alice.get(f"/videos/{fixed.id}").get_data(as_text=True)


def test_asked_twice_it_is_done_once(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    transcriber, _ = provider("real")
    post(alice, "/videos/renew")
    answer = post(alice, "/videos/renew", follow_redirects=True)
    assert "being made again already" in answer.get_data(as_text=True)
    engine.send(events.RENEW_REQUESTED, {"user_id": str(alice.user.id), "request_id": "other"}, owner_id=alice.user.id)
    db.session.commit()  # as when two tabs ask in the same moment
    testing.drain(advance=True)
    assert len(transcriber.calls) == 1
    assert db.session.scalar(sa.select(sa.func.count()).where(Transcript.video_id == video.id)) == 2
    assert "nothing to make again" in post(alice, "/videos/renew", follow_redirects=True).get_data(as_text=True)


def test_the_old_transcript_and_vectors_are_served_until_the_new_ones_are_there(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    transcriber, embedder = provider("real")
    seen = []

    def look(*_):
        db.session.rollback()
        hits = service_search.search_videos(alice.user.id, "moon")
        seen.append((model_of(video), vectors_of(video), len(hits)))
        db.session.rollback()

    transcriber.on_call = look
    embedder.on_call = lambda texts: look() if len(texts[0]) > 20 else None
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert seen == [
        ("sandbox-transcribe", {"sandbox-embed"}, 1),  # while it listens
        ("gpt-transcribe", {"sandbox-embed"}, 1),  # while it embeds: the index is still the old one
    ]
    assert service_search.search_videos(alice.user.id, "moon") == []
    assert len(service_search.search_videos(alice.user.id, "lighthouse")) == 1
    assert again(video).status == "completed"


def test_over_the_budget_nothing_is_begun(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    transcriber, _ = provider("real", budget_person_microusd=100)
    page = post(alice, "/videos/renew", follow_redirects=True).get_data(as_text=True)
    assert "ask an administrator to raise it" in page
    testing.drain(advance=True)
    assert (transcriber.calls, starts(), again(video).status) == ([], 0, "completed")


def test_a_budget_that_ends_on_the_way_leaves_the_rest_as_it_is_and_says_so(app, alice, provider, mails, tmp_path):
    videos = [heard_by_sandbox(alice, tmp_path, title=str(n)) for n in range(3)]
    transcriber, _ = provider("real", budget_person_microusd=50_000)

    def spend(_asked):
        app.settings = app.settings.but(budget_person_microusd=10)

    transcriber.on_call = spend
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert [model_of(video) for video in videos].count("sandbox-transcribe") >= 1
    page = library(alice)
    assert "failed" in page
    assert "does not cover this" in page


def test_one_that_fails_does_not_stop_the_others(alice, provider, mails, tmp_path):
    videos = [heard_by_sandbox(alice, tmp_path, title=str(n)) for n in range(3)]
    transcriber, _ = provider("real")
    transcriber.script = [Permanent("The model provider refuses this sound.")]
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert sorted(model_of(video) for video in videos) == ["gpt-transcribe", "gpt-transcribe", "sandbox-transcribe"]
    assert sorted(again(video).status for video in videos) == ["completed", "completed", "failed"]
    page = library(alice)
    assert "Transcribed again: 2 done, 1 failed." in page
    assert "1 video was made by the sandbox" in page
    failed = next(video for video in videos if again(video).status == "failed")
    service.retry(again(failed))
    db.session.commit()
    testing.drain(advance=True)
    assert (again(failed).status, model_of(failed)) == ("completed", "gpt-transcribe")


def test_what_somebody_has_taken_up_meanwhile_is_left_to_them(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    transcriber, _ = provider("real")
    post(alice, "/videos/renew")
    post(alice, f"/videos/{video.id}/transcribe-again")
    testing.drain(advance=True)
    assert len(transcriber.calls) == 1
    assert (again(video).status, model_of(video)) == ("completed", "gpt-transcribe")


def test_a_deleted_video_does_not_count(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    provider("real")
    post(alice, "/videos/renew")
    service.delete(again(video))
    db.session.commit()
    testing.drain()  # not on to where it is gone for good
    assert renewing.find(alice.user.id).count == 0


def test_a_worker_that_dies_on_the_way_pays_for_nothing_twice(alice, provider, mails, tmp_path):
    heard_by_sandbox(alice, tmp_path)
    transcriber, _ = provider("real")
    post(alice, "/videos/renew")
    with testing.crash_after("share[0]/look"):
        testing.drain(advance=True)
    testing.drain(advance=True)
    assert len(transcriber.calls) == 1
    paid = db.session.scalars(sa.select(UsageEntry.quantity).where(UsageEntry.model == "gpt-transcribe")).all()
    assert paid == [70.0]


def test_the_run_shows_how_far_it_is_to_its_owner_alone(alice, charlie, root, provider, tmp_path):
    heard_by_sandbox(alice, tmp_path)
    provider("real")
    post(alice, "/videos/renew")
    run = renewing.last_run(alice.user.id)
    page = library(alice)
    assert "Transcribing again" in page
    assert f'id="renewal-{run.id}"' in page
    assert "made by the sandbox" not in page  # it is not offered a second time
    from app.videos import renew_pages

    watching = [renew_pages.may_watch(each.user, run.id) for each in (alice, charlie, root)]
    assert watching == [True, False, False]


def test_cancelling_the_run_begins_no_further_video_and_keeps_what_is_there(alice, provider, mails, tmp_path):
    videos = [heard_by_sandbox(alice, tmp_path, title=str(n)) for n in range(4)]
    transcriber, _ = provider("real")
    transcriber.on_call = lambda _asked: engine.cancel(renewing.last_run(alice.user.id).id, "no longer wanted")
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    assert renewing.last_run(alice.user.id).status == "cancelled"
    assert [model_of(video) for video in videos].count("sandbox-transcribe") >= 2
    assert {again(video).status for video in videos} <= {"cancelled", "completed"}
    assert "was cancelled" in library(alice)


def test_the_page_of_a_video_offers_it_for_that_video(alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    page = alice.get(f"/videos/{video.id}").get_data(as_text=True)
    assert "Transcribe again, about" not in page
    provider("real", audio_price_microusd_per_minute=64_000)
    page = alice.get(f"/videos/{video.id}").get_data(as_text=True)
    assert "Transcribe again, about $0.08" in page
    post(alice, f"/videos/{video.id}/transcribe-again")
    testing.drain(advance=True)
    assert "Transcribe again, about" not in alice.get(f"/videos/{video.id}").get_data(as_text=True)
    assert model_of(video) == "gpt-transcribe"


def test_the_outline_is_written_again_after_the_new_transcript(app, alice, provider, mails, tmp_path):
    video = heard_by_sandbox(alice, tmp_path)
    transcriber, embedder = provider("real")
    outline = {"title": "Ships", "summary": "Of ships.", "chapters": [{"segment": 0, "title": "Ships"}]}
    llm.install(app, transcriber=transcriber, embedder=embedder, chat=FakeChat(otherwise=outline, model="gpt-5.5"))
    post(alice, "/videos/renew")
    testing.drain(advance=True)
    written = queries.get_outline(again(video))
    assert (written.title, written.model, written.transcript_id) == ("Ships", "gpt-5.5", again(video).transcript_id)


def test_what_another_real_model_heard_is_not_counted(alice, provider, mails, tmp_path):
    video = make_video(alice.user, tmp_path, sample="")
    give_transcript(video, DRAFT)
    provider("real")
    assert renewing.find(alice.user.id).count == 0
