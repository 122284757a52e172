"""Pages of the videos room, in the modules that `register` names; each adds its own to the one blueprint."""

from __future__ import annotations

from flask import Blueprint, Flask

from app.accounts import service as accounts
from app.videos import (
    api,
    api_editing,
    api_transcript,
    queries,
    routes_editing,
    routes_library,
    routes_media,
    routes_transcript,
    routes_versions,
    tus,
)


def register(app: Flask) -> None:
    """Register the pages, endpoints and live topics of this room, and count its files into the quota."""
    bp = Blueprint("videos", __name__)
    for pages in (
        routes_library,
        routes_media,
        routes_transcript,
        routes_versions,
        routes_editing,
        api_transcript,
        api_editing,
    ):
        pages.add_to(bp)
    for blueprint in (bp, api.bp, tus.bp):
        app.register_blueprint(blueprint)
    with app.app_context():
        accounts.register_storage(queries.stored_bytes)
