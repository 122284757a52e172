"""What the steps of transcribe-video do: captions first, else sound in pieces, words, times. Each function is one step.

Steps pass files as storage keys under `runs/<run_id>/` and everything else as JSON.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

from app import engine
from app.accounts import service as accounts
from app.adapters import alignment, llm
from app.adapters.media import Subtitles, Unusable, media
from app.adapters.storage import storage
from app.errors import Permanent
from app.lib.words import Word
from app.videos import captions, flags, service_transcript, spoken, statuses, text_tracks
from app.videos.captions import Caption
from app.videos.cues import build
from app.videos.models import Video
from app.videos.prices import audio_price

PIECE_SECONDS = 120.0  # for a provider that returns times (600 would do): progress moves and cancelling acts after each
TEXT_PIECE_SECONDS = 28.0  # for one that returns text only: the piece bounds the error of its words' times
SECTION_SECONDS = 600.0
PROMPT_CHARACTERS = 200  # of what was said before

Json = dict[str, Any]
_restoring = threading.Lock()


class LanguageRefused(Permanent):
    """The transcription model set now does not know the video's language."""

    status = 422
    code = "language_not_supported"


class NoText(Permanent):
    """The text track that a person chose holds no text."""

    status = 422
    code = "text_track_empty"

    def __init__(self) -> None:
        super().__init__(
            "The captions that you chose inside this file hold no text. "
            "Choose “Transcribe again” and take others, or the sound."
        )


def folder_of(run_id: UUID) -> str:
    """Return where a run keeps its files."""
    return f"runs/{run_id}"


def begin(owner_id: UUID, video_id: UUID, *, text_from: str, from_final: bool = False) -> Json:
    """Set the status to transcribing and say whether the captions beside the file are to be read.

    `text_from`: a choice of text_tracks.py; `from_final`: see `statuses.move`.

    Returns:
        `{title, has_captions, duration_seconds}`.
    """
    video = statuses.get_video(owner_id, video_id)
    statuses.move(video_id, "transcribing", from_final=from_final)
    return {
        "title": video.title,
        "has_captions": bool(video.captions_key) and text_from in (text_tracks.AUTOMATIC, text_tracks.CAPTIONS),
        "duration_seconds": video.duration_seconds,
    }


def save_captions(owner_id: UUID, video_id: UUID, run_id: UUID) -> str:
    """Save the captions beside the file as the transcript; return its id.

    Raises:
        Malformed: they cannot be read; the message names the line.
    """
    video = statuses.get_video(owner_id, video_id)
    key = video.captions_key or ""
    data = storage().read_range(key, 0, min(storage().size(key), captions.MAX_BYTES + 1))
    return _save_captions(owner_id, video_id, run_id, captions.parse(data))


def save_text_track(owner_id: UUID, video_id: UUID, run_id: UUID, chosen: int | None = None) -> str | None:
    """Save a text track inside the file as the transcript, in the track's language.

    Returns:
        The transcript's id; None when no track was chosen and none has text.

    Raises:
        NoText: the chosen track is not there or says nothing.
        Unusable: the file with the chosen track cannot be read.
    """
    video = statuses.get_video(owner_id, video_id)
    language = video.language
    with storage().get_path(video.storage_key) as path:
        try:
            tracks = media().subtitles(path)
        except Unusable:
            if chosen is not None:
                raise
            return None  # the sound may be fine, and that is what counts
    wanted = [track for track in tracks if chosen is None or track.index == chosen]
    for track in text_tracks.in_order(wanted, language):
        if found := _captions_of(track):
            spoken_in = text_tracks.tag_of(track.language) or language
            return _save_captions(owner_id, video_id, run_id, found, language=spoken_in)
    if chosen is not None:
        raise NoText
    return None


def refuse_unknown_language(owner_id: UUID, video_id: UUID) -> None:
    """Stop before any work when the model does not know the language.

    Raises:
        LanguageRefused: the message says the ways out.
    """
    reason = spoken.refusal(statuses.get_video(owner_id, video_id).language)
    if reason:
        raise LanguageRefused(reason)


def extract_audio(owner_id: UUID, video_id: UUID, run_id: UUID) -> list[Json]:
    """Cut the sound into pieces at silences and store them; return `[{key, start, end, speech}]`, times in seconds."""
    return _extract(statuses.get_video(owner_id, video_id), folder_of(run_id))


def sections(pieces: list[Json]) -> list[list[Json]]:
    """Group pieces into sections of about SECTION_SECONDS. Pure."""
    grouped: list[list[Json]] = []
    for piece in pieces:
        if grouped and piece["end"] - grouped[-1][0]["start"] <= SECTION_SECONDS:
            grouped[-1].append(piece)
        else:
            grouped.append([piece])
    return grouped


def transcribe_piece(owner_id: UUID, video_id: UUID, run_id: UUID, piece: Json, prompt: str) -> Json:
    """Have one piece transcribed: one paid call, metered.

    Returns:
        `{text, words}`; words are `[text, start, end, confidence]` in seconds of the recording, or empty when the
        model returns text only.
    """
    video = statuses.get_video(owner_id, video_id)
    language, vocabulary = video.language, video.vocabulary
    seconds = piece["end"] - piece["start"]
    transcriber = llm.transcriber()
    accounts.ensure_budget(owner_id, audio_price(seconds), run_id=run_id, step=piece["key"])
    _restore(owner_id, video_id, piece["key"])
    with storage().get_path(piece["key"]) as path:
        answer = transcriber.transcribe(
            path,
            language=language,
            prompt=prompt,
            vocabulary=vocabulary,
            owner_id=owner_id,
            paid_as=f"{run_id}/{piece['key']}",
        )
    accounts.record_usage(
        owner_id,
        kind="transcription",
        model=transcriber.model,
        quantity=answer.seconds_billed,
        unit="seconds",
        microusd=audio_price(answer.seconds_billed),
        run_id=run_id,
        step=piece["key"],
    )
    # Models put words beyond the end of what they were sent; there they would push the next piece's words away.
    start, end = piece["start"], piece["end"]
    return {
        "text": answer.text,
        "words": [
            [word.text, round(min(word.start + start, end), 3), round(min(word.end + start, end), 3), word.confidence]
            for word in answer.words
        ],
    }


def align_section(owner_id: UUID, video_id: UUID, pieces: list[Json], heard: list[Json]) -> list[list[Any]]:
    """Give the words of a section their times; words that came with times keep them. Return them in order."""
    language = statuses.get_video(owner_id, video_id).language
    words: list[list[Any]] = []
    for piece, answer in zip(pieces, heard, strict=True):
        if answer["words"] or not answer["text"].strip():
            words.extend(answer["words"])
            continue
        offset = piece["start"]
        speech = [(start - offset, end - offset) for start, end in piece["speech"]]
        _restore(owner_id, video_id, piece["key"])
        with storage().get_path(piece["key"]) as path:
            found = alignment.align(path, answer["text"], language=language, speech=speech)
        words.extend(
            [word.text, round(word.start + offset, 3), round(word.end + offset, 3), word.confidence] for word in found
        )
    return words


def save_words(
    owner_id: UUID, video_id: UUID, run_id: UUID, words: list[list[Any]], speech: list[tuple[float, float]]
) -> str:
    """Save timed words as the transcript, in cues, with doubtful ones flagged; return its id."""
    cues = flags.mark(build(Word(*word) for word in words), speech)
    model = llm.transcriber().model
    return str(service_transcript.save_transcript(owner_id, video_id, run_id, cues, source="model", model=model))


def remove_files(run_id: UUID) -> int:
    """Remove the files that a run, and those it was rerun from, have passed between their steps."""
    removed = 0
    run = engine.get_run(run_id)
    while run is not None:
        removed += storage().delete_prefix(folder_of(run.id))
        run = engine.get_run(run.forked_from) if run.forked_from else None
    return removed


def _extract(video: Video, folder: str) -> list[Json]:
    has_times = llm.transcriber().capabilities.has_times
    longest, search = (PIECE_SECONDS, 20.0) if has_times else (TEXT_PIECE_SECONDS, 8.0)
    pieces: list[Json] = []
    with tempfile.TemporaryDirectory(prefix="throughline-") as place, storage().get_path(video.storage_key) as path:
        for piece in media().extract_pieces(path, Path(place), max_seconds=longest, search_seconds=search):
            key = f"{folder}/piece-{len(pieces):05d}{piece.path.suffix}"
            storage().put_path(key, piece.path, move=True)
            pieces.append(
                {
                    "key": key,
                    "start": piece.start_seconds,
                    "end": piece.end_seconds,
                    "speech": [list(span) for span in piece.speech],
                }
            )
    return pieces


def _restore(owner_id: UUID, video_id: UUID, key: str) -> None:
    """Cut the sound again when a piece is gone: a failed run's files are removed, and a retry comes after it.

    The same file is cut at the same places. If the model was changed meanwhile to one that wants other pieces, a
    piece may still be missing; the person then transcribes again from the start.
    """
    if storage().exists(key):
        return
    with _restoring:  # one thread of the sections cuts, the others wait for it
        if storage().exists(key):
            return
        _extract(statuses.get_video(owner_id, video_id), key.rpartition("/")[0])
        if not storage().exists(key):
            raise Permanent("The transcription model was changed since this began. Choose “Transcribe again”.")


def _save_captions(
    owner_id: UUID, video_id: UUID, run_id: UUID, found: list[Caption], *, language: str | None = None
) -> str:
    cues = captions.to_cues(found)
    saved = service_transcript.save_transcript(owner_id, video_id, run_id, cues, source="captions", language=language)
    return str(saved)


def _captions_of(track: Subtitles) -> list[Caption]:
    found = [
        Caption(0, start, end, captions.plain(text), None)
        for start, end, text in track.cues[: captions.MAX_CUES]
        if end >= start >= 0
    ]
    return [each for each in found if each.text]
