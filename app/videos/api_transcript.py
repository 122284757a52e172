"""The JSON reads of transcripts, chunks and search, as the contract for programs has them."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import quote
from uuid import UUID

from flask import Blueprint, Response, request
from flask_login import current_user, login_required

from app.errors import Invalid, NotFound
from app.lib.ids import parse_id
from app.videos import exports, queries, service_search, service_transcript
from app.videos import queries_transcript as transcripts
from app.videos.models import Transcript, Video
from app.web import absolute_url

MOST_VIDEOS = 1000  # of one request


def add_to(bp: Blueprint) -> None:
    """Add these endpoints to the room's API blueprint; paths are whole."""
    bp.add_url_rule("/api/videos/<uuid:video_id>/transcript.<form>", "api_transcript", read_transcript)
    bp.add_url_rule("/api/videos/<uuid:video_id>/chunks", "api_chunks", list_chunks)
    bp.add_url_rule("/api/search", "api_search", search)
    bp.add_url_rule("/api/videos/reprocess-embeddings", "api_reprocess_embeddings", reprocess, methods=["POST"])


@login_required  # type: ignore[untyped-decorator]
def read_transcript(video_id: UUID, form: str) -> Response:
    """Return the transcript as json, txt, srt, vtt or md; `?download=1` as a file. 404: no such video, or none yet."""
    video = queries.get_for(current_user, video_id)
    return written(video, transcripts.get_transcript(video), form)


def written(video: Video, found: Transcript, form: str) -> Response:
    """Return a version of a video's transcript in one of the forms; `?download=1` as a file.

    Raises:
        NotFound: there is no such form.
    """
    wanted = exports.FORMATS.get(form)
    if wanted is None:
        raise NotFound
    outline = transcripts.get_outline(video)
    document = exports.Document(
        video.title,
        found.language,
        transcripts.list_lines(found.id),
        absolute_url("videos.show", video_id=video.id),
        outline.summary if outline else "",
        [exports.Chapter(each["start_seconds"], each["title"]) for each in outline.chapters] if outline else (),
    )
    answer = Response(wanted.write(document), content_type=f"{wanted.mimetype}; charset=utf-8")
    if form == "json":
        answer.content_type = "application/json"
    if request.args.get("download"):
        answer.headers.set("Content-Disposition", "attachment", **_names(_filename(video.title), form))
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


@login_required  # type: ignore[untyped-decorator]
def list_chunks(video_id: UUID) -> dict[str, Any]:
    """Return the chunks that search looks at: `{items[{index, text, start_seconds, end_seconds, words, model}]}`."""
    video = queries.get_for(current_user, video_id)
    return {
        "items": [
            {
                "index": chunk.index,
                "text": chunk.text,
                "start_seconds": chunk.start_seconds,
                "end_seconds": chunk.end_seconds,
                "words": chunk.words,
                "model": chunk.model,
            }
            for chunk in transcripts.list_chunks(video)
        ]
    }


@login_required  # type: ignore[untyped-decorator]
def search() -> dict[str, Any]:
    """Search one's videos: `?q=` words, `?video=` in one, `?k=` the most hits (1..50). 422: `k` is no such number."""
    only = request.args.get("video", "")
    video_id = parse_id(only)
    if only and video_id is None:
        raise NotFound
    video = queries.get_for(current_user, video_id) if video_id else None
    hits = service_search.search_videos(
        current_user.id, request.args.get("q", ""), video_id=video.id if video else None, k=_count()
    )
    return {
        "results": [
            {
                "video_id": str(hit.video.id),
                "title": hit.video.title,
                "start_seconds": hit.moment.start_seconds,
                "end_seconds": hit.moment.end_seconds,
                "snippet": hit.moment.snippet,
                "score": hit.score,
            }
            for hit in hits
        ]
    }


@login_required  # type: ignore[untyped-decorator]
def reprocess() -> tuple[dict[str, Any], int]:
    """Embed videos again: `{video_ids: [...], force: false}`; no ids: all of one's own. 202 and the request's id."""
    # Only a body that says nothing means everything: whoever sent something meant something else.
    body = request.get_json(silent=True, force=True) if request.get_data() else {}
    if not isinstance(body, dict) or not isinstance(body.get("video_ids", []), list):
        raise Invalid('Send JSON like {"video_ids": [], "force": false}.', {"video_ids": "a list of ids is expected"})
    wanted = body.get("video_ids", [])
    if len(wanted) > MOST_VIDEOS:
        sentence = f"Name at most {MOST_VIDEOS} videos, or none for all of yours."
        raise Invalid(sentence, {"video_ids": sentence})
    ids = [queries.get_for(current_user, _id(each)).id for each in wanted]
    request_id = service_transcript.request_reprocess(current_user.id, ids, force=body.get("force") is True)
    return {"request_id": str(request_id)}, 202


def _id(value: object) -> UUID:
    found = parse_id(value) if isinstance(value, str) else None
    if found is None:
        raise NotFound
    return found


def _count() -> int:
    text = request.args.get("k", str(service_search.DEFAULT_HITS))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= service_search.MOST_HITS:
        sentence = f"k must be a whole number from 1 to {service_search.MOST_HITS}."
        raise Invalid(sentence, {"k": sentence})
    return int(text)


def _filename(title: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in " -_." else " " for letter in title)
    return " ".join(kept.split())[:80] or "transcript"


def _names(name: str, form: str) -> dict[str, str]:
    """Return a file's name as headers can carry it: in ASCII, and in full for who understands it (RFC 6266, 4.3)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    names = {"filename": f"{' '.join(plain.split()) or 'transcript'}.{form}"}
    return names if plain == name else names | {"filename*": f"UTF-8''{quote(f'{name}.{form}', safe='')}"}
