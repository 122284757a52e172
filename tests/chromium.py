"""The Chromium of this test process: one for all its tests, since Playwright runs once in a thread."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = "Chromium is missing: install it (Debian: apt-get install chromium) or set CHROMIUM to its path."


def find() -> str | None:
    """Return the path of the Chromium to drive."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Chromium from CHROMIUM or the path; without one these tests are left out, or fail where it is required."""
    path = find()
    if not path:
        if os.environ.get("THROUGHLINE_REQUIRE_BROWSER") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright  # most test processes need none

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()
