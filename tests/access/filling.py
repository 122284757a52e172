"""How a rule of the url_map becomes requests: what stands in its address, and what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from werkzeug.routing import Rule

from app.videos import exports
from tests.access.world import CAPTIONS, World

# What every `kind`, `form` and `change` in an address can be: all of them are asked for.
CHOICES = {
    "kind": ("source", "poster", "captions"),
    "form": tuple(exports.FORMATS),
    "capability": ("transcription", "embeddings", "chat", "images"),
    "change": ("promote", "demote", "disable", "enable"),
}
# Which of Alice's things an argument is, and where it is another one.
THINGS = {
    "video_id": "video", "run_id": "video run", "upload_id": "upload", "key_id": "key", "session_id": "session",
    "invitation_id": "invitation", "user_id": "charlie", "mail_id": "mail", "key": "step",
    "version_id": "version", "number": "version number", "index": "cue",
}  # fmt: skip
OTHERS = {
    ("videos.restore", "video_id"): "deleted",
    ("videos_api.restore_video", "video_id"): "deleted",
    ("videos.retry", "video_id"): "failed",
    ("videos_api.retry_video", "video_id"): "failed",
    ("videos.cancel", "video_id"): "waiting",
    ("videos_api.cancel_video", "video_id"): "waiting",
    ("videos.restore_version", "version_id"): "old version",
    ("videos.api_restore_version", "version_id"): "old version",
    ("runs.cancel", "run_id"): "waiting run",
    ("runs.pause", "run_id"): "waiting run",
    ("runs_api.cancel_run", "run_id"): "waiting run",
    ("runs_api.pause_run", "run_id"): "waiting run",
    ("runs.resume", "run_id"): "paused run",
    ("runs_api.resume_run", "run_id"): "paused run",
    ("runs.replay", "run_id"): "waveform run",  # a run that gives a video its status is not replayed
    ("runs_api.replay_run", "run_id"): "waveform run",
    ("tus.show", "upload_id"): "open upload",
    ("tus.add", "upload_id"): "open upload",
}
# Where a secret in the address is the permission: Alice knows it, everybody else tries one that they made up.
TOKENS = {
    "videos.signed_media": "media token",
    "videos.shared": "share token",
    "videos.shared_file": "share file token",
    "accounts.unsubscribe": "unsubscribe token",
    "accounts.confirm_unsubscribe": "unsubscribe token",
    "accounts.show_link": "link token",
    "accounts.use_link": "link token",
}
DASHBOARD = {
    "instance_number": 0, "queue_name": "hints", "registry_name": "failed", "per_page": 10, "order": "asc", "page": 1,
}  # fmt: skip
_EDIT = {"op": "text", "cue": 0, "text": "Somebody else's words"}
STATIC = {"static": "app.css", "rq_dashboard.static": "css/main.css"}


def addresses(world: World, rule: Rule, who: str) -> Iterator[str]:
    """Yield the addresses of a rule: one for each choice that it has."""
    names = sorted(rule.arguments)
    values = [CHOICES.get(name) or (_value(world, rule.endpoint, name, who),) for name in names]
    for chosen in product(*values):
        built = rule.build(dict(zip(names, chosen, strict=True)))
        assert built is not None, rule
        yield built[1]


def _value(world: World, endpoint: str, name: str, who: str) -> Any:
    if name == "token":
        return world.things[TOKENS[endpoint]] if who.startswith("alice") else "made-up"
    if name == "filename":
        return STATIC[endpoint]
    if name == "job_id":
        return world.failed_job()
    if name in DASHBOARD:
        return DASHBOARD[name]
    return world.things[OTHERS.get((endpoint, name)) or THINGS[name]]


def body(world: World, endpoint: str) -> dict[str, Any]:
    """Return what is sent: what Alice would send to do it."""
    things = world.things
    bodies: dict[str, dict[str, Any]] = {
        "accounts.save_account": {"data": {"name": "Somebody", "theme": "dark"}},
        "accounts.create_key": {"data": {"name": "another"}},
        "accounts.change_limits": {"data": {"budget": "12.50", "storage": ""}},
        "accounts.invite": {"data": {"email": "one-more@example.org"}},
        "accounts.ask_for_mail": {"data": {"email": "dora@example.org"}},
        "runs.rerun": {"data": {"step": things["step"]}},
        "runs_api.rerun_run": {"json": {"step": things["step"]}},
        "videos.upload_file": {"data": {"title": "No file"}, "content_type": "multipart/form-data"},
        "videos_api.create_video": {"json": {"upload_id": str(things["upload"])}},
        "videos_api.create_from_storage": {"json": {"storagePath": things["storage key"]}},
        "videos.edit_transcript": {"json": {"base": str(things["version"]), "operations": [_EDIT]}},
        "videos.api_edit_transcript": {"json": {"base": str(things["version"]), "operations": [_EDIT]}},
        "videos.api_import_transcript": {"data": CAPTIONS, "content_type": "application/x-subrip"},
        "videos.bulk": {"data": {"action": "add-tag", "new_tag": "seen", "video_ids": [str(things["video"])]}},
        "videos.api_bulk": {"json": {"action": "add-tag", "tag": "seen", "video_ids": [str(things["video"])]}},
        "videos.change_details": {"data": {"title": "Another", "tags": "one, two"}},
        "videos_api.change_video": {"json": {"description": "Another one"}},
        "videos.api_reprocess_embeddings": {"json": {"video_ids": [str(things["video"])]}},
        "videos.api_search": {"query_string": {"q": "dusk", "video": str(things["video"])}},
        "videos.search": {"query_string": {"q": "dusk"}},
        "tus.create": {"headers": {"Upload-Length": "10", "Upload-Metadata": ""}},
        "tus.add": {
            "headers": {"Upload-Offset": "4", "X-HTTP-Method-Override": "PATCH"},
            "data": b" bytes",
            "content_type": "application/offset+octet-stream",
        },
        "runs.index": {"query_string": {"of": "everyone"}},
        "live.watch": {"query_string": {"topics": f"video:{things['video']}/page"}},
    }
    return bodies.get(endpoint, {})
