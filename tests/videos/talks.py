"""Videos for tests of transcripts: rows and files as an upload leaves them, without the upload."""

from __future__ import annotations

import json
import random
from pathlib import Path

import sqlalchemy as sa

from app import engine
from app.accounts.models import UsageEntry, User
from app.adapters.llm import Capabilities, Transcription
from app.adapters.storage import storage
from app.db import db
from app.lib.ids import new_id
from app.lib.words import Word, split_words
from app.videos import cues, embedding, events, service_transcript
from app.videos.models import Video

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def about(name: str) -> dict:
    """Return what samples/index.json says of a sample."""
    return next(each for each in json.loads((SAMPLES / "index.json").read_text()) if each["name"] == name)


def make_video(user: User, tmp_path: Path, *, sample: str = "tides", captions: bytes | None = None, **values) -> Video:
    """Make a video of a sample talk, of the file `source`, or of a few bytes when `sample` is empty.

    `captions` lie beside it.
    """
    video_id = new_id()
    source = values.pop("source", None) or SAMPLES / f"{sample}.mp4"
    key = f"users/{user.id}/videos/{video_id}/source{source.suffix}"
    if not sample:
        source = tmp_path / "empty.mp4"
        source.write_bytes(b"nothing")
    storage().put_path(key, source)
    if captions is not None:
        beside = tmp_path / f"{video_id}.captions"
        beside.write_bytes(captions)
        values["captions_key"] = f"users/{user.id}/videos/{video_id}/captions"
        storage().put_path(values["captions_key"], beside)
    facts = {
        "title": about(sample)["title"] if sample else "A talk",
        "original_filename": f"{sample or 'talk'}.mp4",
        "media_type": "video/mp4",
        "size_bytes": source.stat().st_size,
        "content_hash": "0" * 64,
        "duration_seconds": 75.0,
        "container": "mp4",
        "video_codec": "h264",
        "audio_codec": "aac",
        "width": 640,
        "height": 360,
    }
    video = Video(id=video_id, owner_id=user.id, storage_key=key, **(facts | values))
    db.session.add(video)
    db.session.commit()
    return video


def say_uploaded(video: Video, **more) -> None:
    """Send what an upload sends."""
    engine.send(events.UPLOADED, events.payload(video, new_id(), **more), owner_id=video.owner_id)
    db.session.commit()


def give_transcript(
    video: Video,
    text: str,
    *,
    seconds_each: float = 0.4,
    start: float = 0.0,
    model: str = "",
    is_announced: bool = False,
) -> None:
    """Give a video a transcript with evenly spoken words; with `model` chunks and vectors too.

    No run is started, unless it `is_announced` as a transcription's is.
    """
    words = split_words(text)
    made = cues.build(
        [cues.Word(word, start + n * seconds_each, start + (n + 0.9) * seconds_each) for n, word in enumerate(words)]
    )
    run_id = new_id()
    service_transcript.save_transcript(video.owner_id, video.id, run_id, made, source="model", model="test")
    if not is_announced:
        db.session.info.pop("engine.collected", None)
    video.status = "embedding"
    db.session.commit()
    if model:
        made = embedding.cut_chunks(video.owner_id, video.id, run_id, has_status=False)
        db.session.commit()
        for number, batch in enumerate(made["batches"]):
            embedding.embed_batch(video.owner_id, batch, run_id, str(number))
            db.session.commit()
        embedding.publish(video.owner_id, video.id, made)
    video.status = "completed"
    db.session.commit()


def heard(text: str, *, seconds: float = 10.0, confidence: float = 0.9) -> Transcription:
    """Return an answer with times: its words evenly over `seconds`."""
    parts = text.split()
    each = seconds / len(parts)
    words = tuple(Word(part, n * each, (n + 0.9) * each, confidence) for n, part in enumerate(parts))
    return Transcription(text, words, seconds)


TEXT_ONLY = Capabilities(has_times=False, max_bytes=25 * 1024 * 1024)

SRT = b"""1
00:00:00,000 --> 00:00:02,500
Welcome to the talk about rings.

2
00:00:02,500 --> 00:00:05,000
Consistent hashing puts servers on a ring.
"""


def again(video: Video) -> Video:
    return db.session.get(Video, video.id, populate_existing=True)


def usage(kind):
    return db.session.scalars(sa.select(UsageEntry).where(UsageEntry.kind == kind)).all()


def files_of_runs(app):
    folder = app.settings.data_dir
    return [path for path in folder.rglob("*") if path.is_file() and "/runs/" in str(path)]


def made_up(count: int, seed: int = 0) -> list[str]:
    """Make words, some of them common, with sentences of about twelve."""
    dice = random.Random(seed)  # noqa: S311
    common = ["the", "a", "of", "and", "to", "is"]
    words = []
    for n in range(count):
        word = (
            dice.choice(common)
            if dice.random() < 0.4
            else f"{dice.choice('bdfgklmnprst')}{dice.choice('aeiou')}" * dice.randint(1, 3)
        )
        words.append(word + "." if n % 12 == 11 else word)
    return words
