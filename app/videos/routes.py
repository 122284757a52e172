"""Pages of the videos room, in the modules that `register` names; each adds its own to the one blueprint."""

from __future__ import annotations

from flask import Blueprint, Flask

from app.accounts import service as accounts
from app.videos import (
    api,
    api_editing,
    api_transcript,
    outline_pages,
    playback_pages,
    queries,
    renew_pages,
    routes_bulk,
    routes_details,
    routes_editing,
    routes_library,
    routes_media,
    routes_share,
    routes_transcript,
    routes_versions,
    tus,
    waveform,
)

PAGES = (
    routes_library,
    routes_bulk,
    routes_details,
    routes_media,
    routes_transcript,
    routes_versions,
    routes_editing,
    routes_share,
    api_transcript,
    api_editing,
    outline_pages,
    playback_pages,
    renew_pages,
)


def register(app: Flask) -> None:
    """Register the pages, endpoints and live topics of this room, and count its files into the quota."""
    bp = Blueprint("videos", __name__)
    for pages in PAGES:
        pages.add_to(bp)
    for blueprint in (bp, api.bp, tus.bp):
        app.register_blueprint(blueprint)
    app.jinja_env.globals.update(waveform=waveform)
    with app.app_context():
        accounts.register_storage(queries.stored_bytes)
