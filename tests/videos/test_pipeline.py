"""The pipeline from an uploaded file to a searchable transcript, with fake models and real media."""

from __future__ import annotations

from itertools import pairwise

import pytest

from app import engine
from app.adapters import llm
from app.adapters.media import Subtitles, Unusable
from app.adapters.storage import storage
from app.db import db
from app.engine import testing
from app.errors import Permanent
from app.lib.ids import new_id
from app.videos import embedding, events, service, service_search, service_transcript, statuses, transcribing
from app.videos import queries_transcript as queries
from app.videos.models import Transcript
from tests.videos.remembered_media import RememberedMedia
from tests.videos.talks import (
    SRT,
    TEXT_ONLY,
    again,
    files_of_runs,
    give_transcript,
    heard,
    make_video,
    say_uploaded,
    usage,
)


def test_a_video_becomes_searchable_and_one_mail_goes_out(app, alice, models, mails, history, tmp_path):  # noqa: PLR0917
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert history == ["transcribing", "processing", "embedding", "completed"]
    lines = queries.list_lines(again(video).transcript_id)
    assert "moon pulls" in " ".join(line.text for line in lines).replace("\n", " ")
    assert [chunk.model for chunk in queries.list_chunks(again(video))] == ["fake-embed"]
    assert [mail.to for mail in mails.sent] == ["alice@example.org"]
    assert "ready" in mails.sent[0].subject.lower()
    assert [(entry.unit, entry.model) for entry in usage("transcription")] == [("seconds", "fake-transcribe")]
    assert usage("transcription")[0].microusd > 0
    assert len(usage("embeddings")) == 1
    assert files_of_runs(app) == []
    testing.assert_sent(events.READY, video_id=str(video.id))


def test_captions_beside_the_file_cost_nothing(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    testing.drain()
    assert again(video).status == "completed"
    assert models[0].calls == []
    lines = queries.list_lines(again(video).transcript_id)
    assert (lines[0].start_seconds, lines[0].text) == (0.0, "Welcome to the talk about rings.")
    assert db.session.get(Transcript, again(video).transcript_id).source == "captions"


def test_captions_are_left_aside_when_asked(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video, ignore_captions=True)
    testing.drain()
    assert len(models[0].calls) == 1
    assert db.session.get(Transcript, again(video).transcript_id).source == "model"


def track(language, text):
    return Subtitles(index=2, language=language, codec="mov_text", cues=((0.0, 2.0, text),))


def test_a_text_track_in_the_file_costs_nothing_and_the_one_in_its_language_is_taken(
    alice, models, mails, monkeypatch, tmp_path
):
    tracks = [track("fra", "Bonjour"), track("eng", "<i>Good morning</i>")]
    monkeypatch.setattr(RememberedMedia, "subtitles", lambda *_: tracks)
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    assert again(video).status == "completed"
    assert models[0].calls == []
    transcript = db.session.get(Transcript, again(video).transcript_id)
    assert transcript.source == "captions"
    assert [(line.start_seconds, line.text) for line in queries.list_lines(transcript.id)] == [(0.0, "Good morning")]


@pytest.mark.parametrize("tracks", [Unusable("damaged"), [track("eng", "&nbsp;")], []])
def test_a_text_track_that_says_nothing_or_cannot_be_read_leaves_the_sound(  # noqa: PLR0917
    alice, models, mails, monkeypatch, tmp_path, tracks
):
    def read(*_):
        if isinstance(tracks, Unusable):
            raise tracks
        return tracks

    monkeypatch.setattr(RememberedMedia, "subtitles", read)
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    assert again(video).status == "completed"
    assert db.session.get(Transcript, again(video).transcript_id).source == "model"


def test_a_text_only_model_is_asked_in_short_pieces_with_the_tail_before(alice, models, mails, tmp_path):
    models[0].capabilities = TEXT_ONLY
    models[0].script = ["The sea rises and falls twice every day.", "Most people blame the moon."]
    models[0].otherwise = "And they are right."
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    assert again(video).status == "completed"
    assert len(models[0].calls) >= 3
    assert models[0].calls[1].prompt == "The sea rises and falls twice every day."
    words = [word for cue in queries.list_cues(again(video).transcript_id) for word in cue.words]
    assert words[0].text == "The"
    assert words[0].start < 3
    assert all(one.start <= two.start for one, two in pairwise(words))
    assert all(0 <= word.start <= word.end <= 76 for word in words)


def test_words_that_a_model_puts_beyond_its_piece_do_not_reach_into_the_next(alice, models, tmp_path):
    video = make_video(alice.user, tmp_path, sample="")
    models[0].otherwise = heard("one two three four", seconds=40)
    piece = {"key": video.storage_key, "start": 100.0, "end": 120.0, "speech": []}
    found = transcribing.transcribe_piece(alice.user.id, video.id, new_id(), piece, "")
    assert [word[1:3] for word in found["words"]] == [[100, 109], [110, 119], [120, 120], [120, 120]]


def test_the_same_request_starts_one_run(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    for _ in range(2):
        engine.send(events.UPLOADED, events.payload(video, "the-same"), owner_id=video.owner_id)
        db.session.commit()
    testing.drain(advance=True)
    assert len(engine.list_runs(workflow="transcribe-video")) == 1
    assert len(mails.sent) == 1


def test_embeddings_of_the_model_set_now_are_not_made_twice(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    testing.drain(advance=True)
    service_transcript.request_chunks(again(video), force=False)
    testing.drain(advance=True)
    assert len(models[1].calls) == 1
    assert again(video).status == "completed"
    service_transcript.request_chunks(again(video))
    testing.drain(advance=True)
    assert len(models[1].calls) == 2
    assert len(queries.list_chunks(again(video))) == 1
    assert len(mails.sent) == 1


def test_old_vectors_are_served_until_the_new_ones_are_complete(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    testing.drain()
    models[1].model = "newer-model"
    seen = []
    models[1].on_call = lambda _texts: seen.extend(chunk.model for chunk in queries.list_chunks(again(video)))
    service_transcript.request_reprocess(alice.user.id)
    testing.drain()
    assert seen == ["fake-embed"]
    assert [chunk.model for chunk in queries.list_chunks(again(video))] == ["newer-model"]
    assert again(video).status == "completed"


def test_reprocessing_twice_changes_nothing_and_one_bad_video_stops_no_other(alice, charlie, models, mails, tmp_path):
    videos = [make_video(alice.user, tmp_path, captions=SRT) for _ in range(3)]
    foreign = make_video(charlie.user, tmp_path, captions=SRT)
    for video in [*videos, foreign]:
        say_uploaded(video)
    testing.drain()
    before = len(models[1].calls)
    models[1].model = "newer-model"
    models[1].script = [None, Permanent("No."), None]
    service_transcript.request_reprocess(alice.user.id, [video.id for video in [*videos, foreign]])
    testing.drain(advance=True)
    run = engine.list_runs(workflow="reprocess-embeddings")[0]
    assert run.status == "completed"
    assert [each["outcome"] for each in run.output["videos"]] == ["done", "No.", "done"]
    assert len(models[1].calls) == before + 3
    service_transcript.request_reprocess(alice.user.id)
    testing.drain(advance=True)
    assert len(models[1].calls) == before + 4
    assert [chunk.model for chunk in queries.list_chunks(again(foreign))] == ["fake-embed"]


def test_a_set_that_another_one_has_replaced_meanwhile_is_not_served_for_it(alice, models, tmp_path):
    video = make_video(alice.user, tmp_path, sample="")
    give_transcript(video, "the moon pulls on everything on earth", model="fake-embed")
    about = (alice.user.id, video.id)
    late, newest = (embedding.cut_chunks(*about, new_id(), has_status=False) for _ in range(2))
    db.session.commit()
    for made in (late, newest):
        embedding.embed_batch(alice.user.id, made["batches"][0], video.id, "batch")
        db.session.commit()
    embedding.publish(*about, newest)
    db.session.commit()
    with pytest.raises(statuses.Busy):
        embedding.embed_batch(alice.user.id, late["batches"][0], video.id, "batch")
    with pytest.raises(statuses.Busy):
        embedding.publish(*about, late)
    db.session.rollback()
    assert [str(chunk.id) for chunk in queries.list_chunks(again(video))] == newest["batches"][0]


def test_a_retry_goes_on_although_the_video_was_reprocessed_in_between(alice, models, mails, tmp_path):
    models[1].script = [Permanent("No.")]
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    testing.drain(advance=True)
    service_transcript.request_reprocess(alice.user.id)
    testing.drain(advance=True)
    assert len(queries.list_chunks(again(video))) == 1
    service.retry(again(video))
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert len(queries.list_chunks(again(video))) == 1


def test_words_over_silence_and_repeats_are_flagged(alice, models, mails, tmp_path):
    models[0].otherwise = heard("thank you " * 30, seconds=74)
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    flags = {flag for cue in queries.list_cues(again(video).transcript_id) for flag in cue.flags}
    assert "repeat" in flags


def test_a_recording_without_speech_completes_with_an_empty_transcript(alice, models, mails, tmp_path):
    models[0].otherwise = llm.Transcription("", (), 70.0)
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain()
    assert again(video).status == "completed"
    assert queries.list_lines(again(video).transcript_id) == []
    assert queries.list_chunks(again(video)) == []


def test_chinese_and_french_captions_are_found(alice, models, mails, tmp_path):
    chinese = "1\n00:00:00,000 --> 00:10:00,000\n" + "今天我们讨论一致性哈希和数据库" * 200
    french = "1\n00:00:00,000 --> 00:00:04,000\nLes élèves étudient la géographie.\n"
    videos = [
        make_video(alice.user, tmp_path, captions=text.encode(), language=language)
        for text, language in ((chinese, "zh"), (french, "fr"))
    ]
    for video in videos:
        say_uploaded(video)
    testing.drain()
    assert all(chunk.words <= 1000 for chunk in queries.list_chunks(again(videos[0])))
    found = service_search.search_videos(alice.user.id, "一致性哈希")
    assert found
    assert {hit.video.id for hit in found} == {videos[0].id}
    found = service_search.search_videos(alice.user.id, "eleves geographie")
    assert [hit.video.id for hit in found] == [videos[1].id]


def test_a_notice_is_not_sent_to_those_who_do_not_want_it(alice, models, mails, tmp_path):
    from app.accounts import service as accounts

    accounts.choose_notices(alice.user.id, ["failed"])
    db.session.commit()
    video = make_video(alice.user, tmp_path, captions=SRT)
    say_uploaded(video)
    testing.drain(advance=True)
    assert mails.sent == []


def test_the_tail_of_a_long_transcript_is_saved_whole(alice, models, mails, tmp_path):
    video = make_video(alice.user, tmp_path)
    give_transcript(video, "word " * 20_000, model="yes")
    assert len(queries.list_chunks(again(video))) >= 20
    assert storage().exists(video.storage_key)
