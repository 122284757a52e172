"""How the work of the pipeline is divided: sections of pieces, batches of chunks, and how often each is tried."""

from __future__ import annotations

from app.adapters.llm import Transcription
from app.adapters.media import Piece
from app.engine import testing
from app.errors import Transient
from app.videos import queries_transcript as queries
from app.videos import service_transcript, transcribing
from tests.videos.remembered_media import RememberedMedia
from tests.videos.talks import TEXT_ONLY, again, give_transcript, make_video, say_uploaded


def pieces(count, seconds):
    return [{"key": str(n), "start": n * seconds, "end": (n + 1) * seconds} for n in range(count)]


def say(content):
    return Transcription(f"This was {content}.", (), 10.0)


def test_pieces_form_sections_of_about_ten_minutes_and_none_is_lost():
    made = transcribing.sections(pieces(50, 28.0))
    assert [len(section) for section in made] == [21, 21, 8]
    assert [piece for section in made for piece in section] == pieces(50, 28.0)
    assert [len(section) for section in transcribing.sections(pieces(3, 600.0))] == [1, 1, 1]
    assert transcribing.sections([]) == []


def test_sections_know_nothing_of_each_other_and_come_out_in_order(alice, models, monkeypatch, tmp_path):
    monkeypatch.setattr(transcribing, "SECTION_SECONDS", 20.0)
    models[0].capabilities = TEXT_ONLY
    models[0].otherwise = ""
    video = make_video(alice.user, tmp_path)

    def cut(_self, _path, folder, **_):
        made = [Piece(folder / f"{n}.mp3", n * 10.0, (n + 1) * 10.0, ((n * 10.0, n * 10.0 + 5),)) for n in range(5)]
        for number, piece in enumerate(made):
            piece.path.write_text(f"piece {number}")
        return made

    monkeypatch.setattr(RememberedMedia, "extract_pieces", cut)
    monkeypatch.setattr(
        type(models[0]),
        "transcribe",
        lambda self, path, **asked: self.calls.append((path.read_text(), asked["prompt"])) or say(path.read_text()),
    )
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert sorted(models[0].calls) == [
        ("piece 0", ""),
        ("piece 1", "This was piece 0."),
        ("piece 2", ""),
        ("piece 3", "This was piece 2."),
        ("piece 4", ""),
    ]
    text = " ".join(" ".join(line.text.split()) for line in queries.list_lines(again(video).transcript_id))
    assert text == " ".join(f"This was piece {n}." for n in range(5))


def test_chunks_are_embedded_twenty_at_a_time(alice, models, tmp_path):
    video = make_video(alice.user, tmp_path, sample="")
    give_transcript(video, "word " * 21_000)
    service_transcript.request_chunks(again(video))
    testing.drain()
    count = len(queries.list_chunks(again(video)))
    assert sorted((len(call) for call in models[1].calls), reverse=True) == [20, count - 20]


def test_embeddings_are_tried_twice(alice, models, mails, tmp_path):
    models[1].script = [Transient("Not now.")] * 9
    video = make_video(alice.user, tmp_path, sample="")
    give_transcript(video, "the moon pulls on everything on earth")
    service_transcript.request_chunks(again(video))
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert len(models[1].calls) == 2
