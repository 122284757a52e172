"""The JSON endpoints that change transcripts and read their versions (docs/reference/transcript-editing.md)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.errors import Invalid
from app.videos import api_transcript, forms_transcript, queries, receiving, service_editing
from app.videos import queries_transcript as transcripts
from app.videos import queries_versions as versions
from app.videos.captions import MAX_BYTES
from app.videos.details import clean_filename
from app.videos.service_editing import Outdated


def add_to(bp: Blueprint) -> None:
    """Add these endpoints to the room's blueprint; paths are whole."""
    transcript, version = "/videos/<uuid:video_id>/transcript", "/videos/<uuid:video_id>/transcripts/<uuid:version_id>"
    bp.add_url_rule(f"/api{transcript}", "api_show_transcript", show)
    bp.add_url_rule(f"/api{transcript}", "api_edit_transcript", edit, methods=["PATCH"])
    bp.add_url_rule(f"/api{transcript}", "api_import_transcript", import_captions, methods=["PUT"])
    bp.add_url_rule(transcript, "edit_transcript", edit, methods=["POST"])
    bp.add_url_rule("/api/videos/<uuid:video_id>/transcripts", "api_versions", list_versions)
    bp.add_url_rule(f"/api{version}.<form>", "api_version", read_version)
    bp.add_url_rule(f"/api{version}/changes", "api_changes", list_changes)
    bp.add_url_rule(f"/api{version}/restore", "api_restore_version", restore, methods=["POST"])


@login_required  # type: ignore[untyped-decorator]
def show(video_id: UUID) -> dict[str, Any]:
    """Return the version shown now, with its id and its words. 404: no such video, or no transcript yet."""
    return versions.as_dict(transcripts.get_transcript(queries.get_for(current_user, video_id)))


@login_required  # type: ignore[untyped-decorator]
def edit(video_id: UUID) -> ResponseReturnValue:
    """Do operations to the version shown. 409: another one is shown by now. 422: which operation, and why."""
    video = queries.get_for(current_user, video_id)
    wanted = forms_transcript.parse_edit(request.get_json(silent=True, force=True))
    try:
        made = service_editing.edit_transcript(video, wanted.base_id, wanted.operations, wanted.note)
    except Outdated as error:
        current = {"id": str(error.current.id), "number": error.current.number}
        return jsonify(error=error.code, message=error.message, details=[], current=current), error.status
    return jsonify(versions.as_dict(made))


@receiving.checks_csrf_itself
@login_required  # type: ignore[untyped-decorator]
def import_captions(video_id: UUID) -> dict[str, Any]:
    """Take a caption file, as the body or as the multipart field `file`, as the newest version. 422: the lines."""
    video = queries.get_for(current_user, video_id)
    receiving.check_csrf()
    data, name = read_captions()
    return versions.as_dict(service_editing.import_captions(video, data, name))


@login_required  # type: ignore[untyped-decorator]
def list_versions(video_id: UUID) -> dict[str, Any]:
    """Return the versions, newest first."""
    return {"items": [_version(each) for each in versions.list_versions(queries.get_for(current_user, video_id))]}


@login_required  # type: ignore[untyped-decorator]
def read_version(video_id: UUID, version_id: UUID, form: str) -> Response:
    """Return one version as json, txt, srt, vtt or md; `?download=1` as a file. 404: there is none."""
    video = queries.get_for(current_user, video_id)
    return api_transcript.written(video, versions.get_version(video, version_id), form)


@login_required  # type: ignore[untyped-decorator]
def list_changes(video_id: UUID, version_id: UUID) -> dict[str, Any]:
    """Return what differs between two versions, word by word: `?from=`, by itself the one that it is based on."""
    video = queries.get_for(current_user, video_id)
    new = versions.get_version(video, version_id)
    named = request.args.get("from", "")
    old = versions.get_version(video, named) if named else versions.find_base(new)
    return {
        "from": str(old.id) if old else None,
        "to": str(new.id),
        "hunks": [asdict(hunk) for hunk in versions.list_changes(old, new)],
    }


@login_required  # type: ignore[untyped-decorator]
def restore(video_id: UUID, version_id: UUID) -> dict[str, Any]:
    """Show an old version again, as a new one. 409: it is the one shown."""
    video = queries.get_for(current_user, video_id)
    return versions.as_dict(service_editing.restore_version(video, versions.get_version(video, version_id)))


def read_captions() -> tuple[bytes, str]:
    """Read the caption file of this request, and its name; the view checks the form's token before it uses it.

    Raises:
        Invalid: there is none.
    """
    receiving.allow_body(MAX_BYTES + receiving.FORM_BYTES)
    if request.mimetype == "multipart/form-data":
        data, name = b"", ""
        for field, file in request.files.items():
            with file.stream:
                if field == "file":
                    data, name = file.stream.read(MAX_BYTES + 1), clean_filename(file.filename)
    else:
        data, name = request.get_data(cache=False), ""
    if not data.strip():
        sentence = "Choose a caption file, .srt or .vtt."
        raise Invalid(sentence, {"file": sentence})
    return data, name


def _version(each: versions.Version) -> dict[str, Any]:
    return {
        "id": str(each.id),
        "number": each.number,
        "source": each.source,
        "note": each.note,
        "model": each.model,
        "created_at": each.created_at.isoformat(),
        "cues": each.cues,
        "is_current": each.is_current,
    }
