"""How tests press the buttons of pages: with the form token that the page holds."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse


def token(page: TestResponse) -> str:
    return re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]


def press(client: FlaskClient, page: str, action: str | None = None, **fields: str) -> TestResponse:
    """Open `page` and post a form of it to `action` (the page itself when none is given)."""
    shown = client.get(page)
    assert shown.status_code in (200, 410), shown.text
    return client.post(action or page, data={"csrf_token": token(shown), **fields})


def ask(client: FlaskClient, email: str, **fields: str) -> TestResponse:
    """Ask for a sign-in mail."""
    return press(client, "/sign-in", email=email, **fields)
