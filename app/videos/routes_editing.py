"""The forms that change a transcript without a script: one cue, a caption file, an old version."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.errors import Conflict, Invalid
from app.videos import api_editing, forms_transcript, queries, receiving, service_editing
from app.videos import queries_versions as versions
from app.videos.captions import MAX_BYTES
from app.videos.models import Transcript


def add_to(bp: Blueprint) -> None:
    """Add these forms to the room's blueprint."""
    transcript, version = "/videos/<uuid:video_id>/transcript", "/videos/<uuid:video_id>/transcripts/<uuid:version_id>"
    bp.add_url_rule(f"{transcript}/cues/<int:index>", "edit_cue", edit_cue, methods=["POST"])
    bp.add_url_rule(f"{transcript}/import", "import_transcript", import_transcript, methods=["POST"])
    bp.add_url_rule(f"{version}/restore", "restore_version", restore_version, methods=["POST"])


@login_required  # type: ignore[untyped-decorator]
def edit_cue(video_id: UUID, index: int) -> ResponseReturnValue:
    """Change the text, speaker or times of one cue."""
    video = queries.get_for(current_user, video_id)

    def save() -> Transcript:
        wanted = forms_transcript.parse_cue(index, request.form)
        return service_editing.edit_transcript(video, wanted.base_id, wanted.operations, wanted.note)

    return _do(video_id, save, "Saved.")


@receiving.checks_csrf_itself
@login_required  # type: ignore[untyped-decorator]
def import_transcript(video_id: UUID) -> ResponseReturnValue:
    """Take a caption file as the newest version."""
    video = queries.get_for(current_user, video_id)
    receiving.allow_body(MAX_BYTES + receiving.FORM_BYTES)
    receiving.check_csrf(request.form.get("csrf_token"))

    def save() -> Transcript:
        return service_editing.import_captions(video, *api_editing.read_captions())

    return _do(video_id, save, "Imported. The transcript shown is that of the file.")


@login_required  # type: ignore[untyped-decorator]
def restore_version(video_id: UUID, version_id: UUID) -> ResponseReturnValue:
    """Show an old version again, as a new one."""
    video = queries.get_for(current_user, video_id)
    version = versions.get_version(video, version_id)
    return _do(video_id, lambda: service_editing.restore_version(video, version), f"Version {version.number} is back.")


def _do(video_id: UUID, save: Callable[[], Transcript], message: str) -> ResponseReturnValue:
    """Save, and say so on the video's page, or why not: services raise before they write."""
    try:
        save()
        flash(message, "ok")
    except Conflict as error:
        flash(error.message, "warn")
    except Invalid as error:
        flash(_all(error), "bad")
    return redirect(url_for("videos.show", video_id=video_id), 303)


def _all(error: Invalid) -> str:
    """Return the whole refusal: of a caption file every line that is wrong."""
    lines = [f"{path.capitalize()}: {text}" for path, text in error.fields.items() if path.startswith("line ")]
    return "\n".join(["The captions cannot be used.", *lines]) if len(lines) > 1 else error.message
