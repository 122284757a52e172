"""The verbs of this room, for other rooms and for workflows; each is written down in the module it comes from."""

from __future__ import annotations

from app.videos.service_intake import AlreadyThere, accept_file, accept_upload
from app.videos.service_library import (
    PURGE_GRACE,
    UNDO,
    cancel,
    change_video,
    delete,
    go_on_at,
    purge_files,
    purge_rows,
    reprocess,
    restore,
    retry,
    save_waveform,
    take_up_again,
    transcribe_again,
    why_no_replay,
)
from app.videos.service_share import revoke, share
from app.videos.service_transcript import request_reprocess
from app.videos.service_uploads import remove_expired, remove_left_behind

__all__ = [
    "PURGE_GRACE",
    "UNDO",
    "AlreadyThere",
    "accept_file",
    "accept_upload",
    "cancel",
    "change_video",
    "delete",
    "go_on_at",
    "purge_files",
    "purge_rows",
    "remove_expired",
    "remove_left_behind",
    "reprocess",
    "request_reprocess",
    "restore",
    "retry",
    "revoke",
    "save_waveform",
    "share",
    "take_up_again",
    "transcribe_again",
    "why_no_replay",
]
