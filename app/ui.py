"""What every template may use: filters, globals and the addresses of static files."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, url_for
from markupsafe import Markup, escape

from app.lib import text
from app.lib.clock import now

_YEAR_SECONDS = 365 * 86400
_HOUR_SECONDS = 3600


def init_app(app: Flask) -> None:
    """Give `app`'s templates their filters and globals, and its static files a long life in caches."""
    app.jinja_env.filters.update(
        duration=text.duration,
        span=text.span,
        bytes=text.file_size,
        money=text.money,
        initials=text.initials,
        pluralise=text.pluralise,
        ago=time_element,
        since=since_element,
    )
    app.jinja_env.globals.update(has_endpoint=has_endpoint, asset=asset)
    app.context_processor(_about_page)
    app.after_request(_keep_static_files)


def has_endpoint(name: str) -> bool:
    """Tell whether a page of that name exists in this app."""
    return name in current_app.view_functions


def asset(filename: str) -> str:
    """Return the address of a static file; it changes with the file's content, so caches may keep it for ever."""
    path = Path(current_app.static_folder or "") / filename
    return url_for("static", filename=filename, v=_fingerprint(path, path.stat().st_mtime_ns))


def time_element(when: datetime | None, missing: str = "never") -> Markup:
    """Return `when` (aware) as a <time> that reads "5 min ago", kept current by static/app.js."""
    if when is None:
        return escape(missing)
    return Markup('<time class="num" datetime="{}" title="{:%Y-%m-%d %H:%M} UTC" data-ago>{}</time>').format(
        when.isoformat(timespec="seconds"), when, text.ago(when, now())
    )


def since_element(seconds: float) -> Markup:
    """Return how long something has lasted until now as a <time> that static/app.js counts on: "2 min 5 s"."""
    return Markup('<time class="num" datetime="PT{:.0f}S" data-since="{:.1f}">{}</time>').format(
        max(seconds, 0), seconds, text.exact_span(seconds)
    )


def moment(when: datetime) -> Markup:
    """Return a time to come: "26 Nov 2026, 14:32 UTC (in 3 h)", or the date alone when that is more than a day away."""
    date = f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
    return Markup("{} ({})").format(date, until_element(when)) if when - now() < timedelta(days=1) else escape(date)


def until_element(when: datetime) -> Markup:
    """Return a time to come as a <time> that static/app.js keeps true: "in 12 s", "in 3 min 20 s", "in 3 h"."""
    left = (when - now()).total_seconds()
    if left >= _HOUR_SECONDS:
        return time_element(when)
    words = f"in {text.exact_span(left)}" if left >= 1 else "now"
    return Markup('<time class="num" datetime="{}" title="{:%Y-%m-%d %H:%M} UTC" data-until="{:.1f}">{}</time>').format(
        when.isoformat(timespec="seconds"), when, left, words
    )


@lru_cache(maxsize=256)
def _fingerprint(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def _about_page() -> dict[str, Any]:
    theme = request.cookies.get("theme", "") if request else ""
    return {
        "theme": theme if theme in ("light", "dark") else "",
        "is_sandboxed": current_app.settings.is_sandboxed,  # type: ignore[attr-defined]
        "is_production": current_app.settings.is_production,  # type: ignore[attr-defined]
    }


def _keep_static_files(response: Response) -> Response:
    # Vendored files carry their version in the name, ours their fingerprint in the address.
    if (
        request.endpoint == "static"
        and response.status_code == 200  # noqa: PLR2004
        and ("v" in request.args or request.path.startswith("/static/vendor/"))
    ):
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_SECONDS}, immutable"
    return response
