"""The search index follows an edited transcript: only what changed is embedded, and the old index serves until then."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app import engine
from app.db import db
from app.engine import testing
from app.errors import Permanent, Transient
from app.lib.words import join_words
from app.videos import events, service_editing, service_transcript
from app.videos import queries_transcript as queries
from app.videos.models import Chunk
from app.videos.operations import Delete, Insert, SetSpeaker, SetText, SetTimes
from tests.videos.browsing import token
from tests.videos.corrections import chunks_of, finds, follow, is_up_to_date, runs, save, served, write
from tests.videos.talks import SRT, again, give_transcript, made_up, make_video, usage

pytestmark = pytest.mark.usefixtures("mails")

TEXT = "consistent hashing puts every server on a ring so that a key finds its place. "
THREE_HOURS = 27_000


@pytest.fixture
def video(alice, models, tmp_path):
    made = make_video(alice.user, tmp_path, sample="", title="Rings")
    give_transcript(made, TEXT * 100, model="yes")
    models[1].calls.clear()
    return made


def texts(models):
    return [text for call in models[1].calls for text in call]


def page(alice, video):
    return alice.get(f"/videos/{video.id}").text


@pytest.mark.parametrize("cue", [0, 1_500, -1])
def test_one_word_in_three_hours_embeds_at_most_two_chunks(alice, models, history, tmp_path, cue):
    video = make_video(alice.user, tmp_path, sample="", duration_seconds=3 * 3600.0)
    give_transcript(video, join_words(made_up(THREE_HOURS)), model="yes")
    before = {chunk.text: list(chunk.embedding) for chunk in db.session.scalars(chunks_of(video))}
    assert len(before) > 25
    models[1].calls.clear()
    history.clear()
    cues = queries.list_cues(again(video).transcript_id)
    cue %= len(cues)
    write(video, "quincunx " + cues[cue].text.split(maxsplit=1)[1], cue)
    follow()
    embedded = texts(models)
    assert 1 <= len(embedded) <= 2
    assert finds(video, "quincunx")
    assert is_up_to_date(video)
    after = {chunk.text: list(chunk.embedding) for chunk in db.session.scalars(chunks_of(video))}
    assert len(after) >= len(before) - 1
    assert len(set(before) & set(after)) >= len(after) - 2
    assert all(after[text] == before[text] for text in set(before) & set(after))
    [run] = runs(video)
    [entry] = [entry for entry in usage("embeddings") if entry.run_id == run.id]
    assert entry.quantity == sum(len(text.split()) for text in embedded)
    assert (again(video).status, history) == ("completed", [])


def test_an_edit_sends_no_mail_and_shows_no_progress(alice, video, mails):
    write(video, "rendezvous hashing")
    follow()
    assert mails.sent == []
    assert is_up_to_date(video)
    assert testing.sent_events(events.READY) == []
    assert alice.get(f"/api/videos/{video.id}").json["status"] == "completed"


def test_many_saves_within_seconds_are_one_run_of_the_last(video, models):
    for n in range(5):
        write(video, f"edit number {n}")
        testing.clock.advance(4)
        testing.drain()
    assert texts(models) == []
    testing.clock.advance(1.5)
    testing.drain()
    assert len(runs(video)) == 1
    assert is_up_to_date(video)
    assert len(models[1].calls) == 1


def test_who_saves_all_the_time_is_followed_after_a_minute(video):
    for n in range(15):
        write(video, f"edit number {n}")
        testing.clock.advance(4.2)
        testing.drain()
    # The last save may have come after that minute, when the machine was busy: it then waits for those after it.
    *waiting, first = (run.status for run in runs(video))
    assert first == "completed"
    assert waiting in ([], ["debounced"])
    assert len(served(video)) == 1


def test_a_save_to_one_video_does_not_wait_for_those_of_another(alice, video, tmp_path):
    other = make_video(alice.user, tmp_path, sample="", title="Other")
    give_transcript(other, TEXT, model="yes")
    write(video, "rendezvous hashing")
    write(other, "another talk")
    follow()
    assert is_up_to_date(video)
    assert is_up_to_date(other)


def test_times_and_speakers_cost_nothing_and_hits_move(alice, video, models):
    cues = queries.list_cues(again(video).transcript_id)
    save(video, SetTimes(0, 0.1, cues[0].end), SetSpeaker(0, "Ada", 3))
    follow()
    assert texts(models) == []
    assert is_up_to_date(video)
    assert queries.list_chunks(again(video))[0].start_seconds == pytest.approx(0.1)
    assert runs(video)[0].id not in {entry.run_id for entry in usage("embeddings")}


def test_the_old_chunks_are_served_until_the_new_ones_are_complete(alice, video, models):
    old, seen = again(video).transcript_id, []

    def look(_texts):
        seen.append((served(video), finds(video, "consistent"), finds(video, "quincunx")))

    # A search asks the embedder, too.
    models[1].on_call = lambda _texts: (setattr(models[1], "on_call", None), look(_texts))
    write(video, "quincunx")
    follow()
    assert seen == [({old}, True, False)]
    assert finds(video, "quincunx")


@pytest.mark.parametrize("error", [Permanent("The key was refused. Ask an administrator."), Transient("Not now.")])
def test_a_failing_embedding_leaves_the_old_chunks_and_a_quiet_line(alice, video, models, mails, error):
    old = again(video).transcript_id
    models[1].script = [error] * 9
    write(video, "quincunx")
    assert "it follows in a moment" in page(alice, video)
    follow()
    [run] = runs(video)
    assert run.status == "failed"
    assert (again(video).status, mails.sent, served(video)) == ("completed", [], {old})
    assert db.session.scalar(sa.select(sa.func.count()).where(Chunk.video_id == video.id, ~Chunk.is_served)) == 0
    models[1].script = []
    assert finds(video, "consistent")
    shown = page(alice, video)
    assert f"Search still finds the words of version 1. {error.message}" in shown
    assert "it follows in a moment" not in shown
    assert "could not be finished" not in shown
    write(video, "quincunx again")
    follow()
    assert is_up_to_date(video)
    assert "Search still finds" not in page(alice, video)


def test_what_nobody_foresaw_is_told_without_its_details(alice, video, models):
    models[1].script = [ZeroDivisionError("secret detail")] * 9
    write(video, "quincunx")
    follow()
    assert "Search still finds the words of version 1." in page(alice, video)
    assert "secret" not in page(alice, video)


def test_index_again_helps_where_the_index_could_not_follow(alice, video, models):
    models[1].script = [Permanent("No.")]
    write(video, "quincunx")
    follow()
    assert alice.post(f"/videos/{video.id}/chunk-again", headers={"X-CSRFToken": token(alice)}).status_code == 303
    follow()
    assert again(video).status == "completed"
    assert is_up_to_date(video)


def test_a_busy_model_is_asked_again_and_nothing_is_paid_twice(video, models):
    models[1].script = [Transient("Slow down.", retry_after=30)]
    paid = len(usage("embeddings"))
    write(video, "quincunx")
    follow()
    assert is_up_to_date(video)
    assert len(usage("embeddings")) == paid + 1


def test_no_budget_means_no_call_and_the_line_says_so(app, alice, video, models, monkeypatch):
    monkeypatch.setattr(app, "settings", app.settings.but(budget_person_microusd=1))
    write(video, "quincunx")
    follow()
    assert texts(models) == []
    assert runs(video)[0].error["code"] == "over_budget"
    assert runs(video)[0].error["message"] in page(alice, video)
    assert again(video).status == "completed"


def test_vectors_of_another_model_are_neither_copied_nor_compared(alice, video, models):
    count = len(queries.list_chunks(again(video)))
    models[1].model = "newer-model"
    seen = []
    models[1].on_call = lambda _texts: seen.extend(chunk.model for chunk in db.session.scalars(chunks_of(video)))
    write(video, "quincunx")
    follow()
    assert set(seen) == {"fake-embed"}
    assert {chunk.model for chunk in db.session.scalars(chunks_of(video))} == {"newer-model"}
    assert len(texts(models)) == len(queries.list_chunks(again(video))) == count
    assert (again(video).status, is_up_to_date(video)) == ("completed", True)


def test_a_vector_carries_the_name_of_the_model_that_made_it(alice, video, models):
    """The server is started with another model between cutting and embedding."""
    write(video, "quincunx")
    models[1].script = [Transient("Stopping.")]
    models[1].on_call = lambda _texts: setattr(models[1], "model", "newer-model")
    follow()
    changed = [chunk for chunk in db.session.scalars(chunks_of(video)) if "quincunx" in chunk.text]
    assert {chunk.model for chunk in changed} == {"newer-model"}


def test_an_import_is_indexed_whole_and_a_restore_gets_the_old_words_back(alice, video, models):
    old = [chunk.text for chunk in queries.list_chunks(again(video))]
    first = db.session.get(service_editing.Transcript, again(video).transcript_id)
    service_editing.import_captions(again(video), SRT, "mine.srt")
    db.session.commit()
    follow()
    assert is_up_to_date(video)
    assert len(queries.list_chunks(again(video))) == 1
    assert not finds(video, "key finds its place")
    service_editing.restore_version(again(video), first)
    db.session.commit()
    follow()
    assert is_up_to_date(video)
    assert [chunk.text for chunk in queries.list_chunks(again(video))] == old


def test_a_transcript_without_words_is_found_by_nothing_and_indexed_when_words_come(alice, video):
    save(video, *[Delete(0)] * len(queries.list_cues(again(video).transcript_id)))
    follow()
    assert queries.list_chunks(again(video)) == []
    assert not finds(video, "consistent hashing")
    assert "Search does not find" not in page(alice, video)
    save(video, Insert(0, 1.0, 3.0, "quincunx in the garden"))
    assert "Search does not find these words yet; it follows in a moment." in page(alice, video)
    follow()
    assert finds(video, "quincunx")
    assert is_up_to_date(video)


def test_saving_back_and_forth_costs_nothing(video, models):
    text = queries.list_cues(again(video).transcript_id)[0].text
    write(video, "quincunx")
    save(video, SetText(0, text))
    follow()
    assert texts(models) == []
    assert is_up_to_date(video)


def test_chinese_words_are_followed_too(alice, models, tmp_path):
    video = make_video(alice.user, tmp_path, sample="", language="zh")
    give_transcript(video, "今天我们讨论一致性哈希和数据库。" * 300, model="yes")
    models[1].calls.clear()
    write(video, "潮汐每天两次", 40)
    follow()
    assert len(texts(models)) <= 2
    assert finds(video, "潮汐")
    assert is_up_to_date(video)


@pytest.mark.parametrize("step", ["plan", "batch[0]/embed", "serve"])
def test_a_crash_after_any_step_costs_no_second_call(video, models, step):
    write(video, "quincunx")
    testing.clock.advance(6)
    with testing.crash_after(step):
        testing.drain()
    follow()
    follow()
    assert len(models[1].calls) == 1
    assert is_up_to_date(video)
    assert [run.status for run in runs(video)] == ["completed"]


def test_a_video_of_somebody_else_is_none_to_the_workflow(charlie, video, models):
    saved = write(video, "quincunx")
    old = served(video)
    for run in runs(video):
        engine.cancel(run.id)
    db.session.commit()
    payload = events.payload(video, "x", transcript_id=str(saved.id))
    engine.send(events.TRANSCRIPT_EDITED, payload, owner_id=charlie.user.id)
    follow()
    assert (served(video), texts(models)) == (old, [])


def test_an_afternoon_of_edits_hides_no_run_of_the_pipeline(alice, video, mails):
    for n in range(25):
        write(video, f"edit number {n}")
        follow()
    service_transcript.request_chunks(again(video))
    testing.drain(advance=True)
    for n in range(25, 50):
        write(video, f"edit number {n}")
        follow()
    assert len(runs(video)) == 50
    assert "How it was made" in page(alice, video)
