"""Pages of the versions of a transcript: the list, one of them, what differs between two, and the form of one cue."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, render_template, request
from flask_login import current_user, login_required

from app.errors import NotFound
from app.videos import exports, pages, queries
from app.videos import queries_transcript as transcripts
from app.videos import queries_versions as versions
from app.videos.models import Video
from app.videos.queries_versions import Version

LISTED = 50
HUNKS = 100  # of one page of differences; "show more" adds as many
MOST_SHOWN = 1_000_000


def add_to(bp: Blueprint) -> None:
    """Add these pages to the room's blueprint."""
    bp.add_url_rule("/videos/<uuid:video_id>/versions", "versions", show_versions)
    bp.add_url_rule("/videos/<uuid:video_id>/versions/<int:number>", "version", show_version)
    bp.add_url_rule("/videos/<uuid:video_id>/versions/compare", "compare_versions", compare)


@login_required  # type: ignore[untyped-decorator]
def show_versions(video_id: UUID) -> str:
    """Show the versions of a video's transcript, newest first; `?all=1` all of them."""
    video = queries.get_for(current_user, video_id)
    found = versions.list_versions(video)
    shown = found if request.args.get("all") else found[:LISTED]
    return render_template(
        "videos/versions.html", video=video, versions=shown, count=len(found), sources=pages.SOURCE_WORDS
    )


@login_required  # type: ignore[untyped-decorator]
def show_version(video_id: UUID, number: int) -> str:
    """Show one version, to be read."""
    video = queries.get_for(current_user, video_id)
    version = _numbered(versions.list_versions(video), number)
    return render_template(
        "videos/version.html",
        video=video,
        version=version,
        cues=pages.cue_lines(version.id, pages.unsure_below(version.model)),
        clock=exports.short_clock,
        formats=exports.FORMATS,
        sources=pages.SOURCE_WORDS,
    )


@login_required  # type: ignore[untyped-decorator]
def compare(video_id: UUID) -> str:
    """Show what differs between the versions `?from=` and `?to=`; by themselves the last two. `?shown=`: how much."""
    video = queries.get_for(current_user, video_id)
    found = versions.list_versions(video)
    if not found:
        raise NotFound("This video has no transcript yet, so there is nothing to compare.")
    new = _numbered(found, request.args.get("to", found[0].number, type=int))
    before = next((each for each in found if each.number < new.number), new)
    old = _numbered(found, request.args.get("from", before.number, type=int))
    hunks = versions.list_changes(versions.get_version(video, old.id), versions.get_version(video, new.id))
    shown = min(max(HUNKS, request.args.get("shown", HUNKS, type=int)), MOST_SHOWN)
    return render_template(
        "videos/compare.html",
        video=video,
        versions=found,
        old=old,
        new=new,
        hunks=hunks[:shown],
        count=len(hunks),
        next_shown=shown + HUNKS,
        clock=exports.short_clock,
        sources=pages.SOURCE_WORDS,
    )


def edit_page(video: Video, at: int | None) -> str:
    """Render the form of one cue: editing without a script.

    Raises:
        NotFound: there is no transcript, or no such cue.
    """
    transcript = transcripts.get_transcript(video)
    cues = pages.cue_lines(transcript.id)
    if at is None or not 0 <= at < len(cues):
        raise NotFound("There is no such cue. Open the transcript again and choose one.")
    return render_template(
        "videos/edit_cue.html",
        video=video,
        transcript=transcript,
        cue=cues[at],
        at=at,
        count=len(cues),
        before=cues[at - 1] if at else None,
        after=cues[at + 1] if at + 1 < len(cues) else None,
        speakers=list(dict.fromkeys(cue.speaker for cue in cues if cue.speaker)),
        clock=exports.short_clock,
    )


def _numbered(found: list[Version], number: int) -> Version:
    version = next((each for each in found if each.number == number), None)
    if version is None:
        raise NotFound("There is no such version of this transcript. Look at the list of versions.")
    return version
