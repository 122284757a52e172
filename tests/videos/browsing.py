"""Helpers of the tests of uploads and library: requests with the page's token, as the scripts send them."""

from __future__ import annotations

import io
import re


def token(browser) -> str:
    """Return the form token of this browser's session."""
    if not hasattr(browser, "form_token"):
        browser.form_token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/upload").text)[1]
    return browser.form_token


def headers(browser, **more) -> dict[str, str]:
    """Return the headers that the page's scripts send."""
    return {"X-CSRFToken": token(browser), **more}


def post(browser, path, **kwargs):
    """POST with the token."""
    return browser.post(path, headers=headers(browser, **kwargs.pop("headers", {})), **kwargs)


def post_video(browser, data: bytes, name: str = "talk.mp4", query: str = "", **fields):
    """POST a file to /api/videos."""
    return post(browser, f"/api/videos{query}", data={"file": (io.BytesIO(data), name), **fields})
