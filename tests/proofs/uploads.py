"""An upload over a bad line: cut three times by a RST, the web server killed with -9 once; it arrives whole.

By the standard client of tus (`by_tuspy`), and by a browser on the upload page with a reload in the middle
(`by_chromium`). Each waits on what happens, never for a time.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Page, expect
from tusclient.client import TusClient

from tests.proofs.cutter import CUT, Cutter, cutting
from tests.proofs.films import sha256
from tests.proofs.memory import Memory, children_of, masters_of, watching
from tests.stack import Stack

ALLOWED_GROWTH = 60_000_000  # bytes above idle
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Proof:
    """What one upload took."""

    seconds: float
    line: Cutter
    memory: Memory
    kills: int
    stored: Path

    def check(self, film: Path) -> None:
        """Fail unless everything that was planned happened and the file arrived whole in bounded memory."""
        assert self.line.is_through(), "the plan was not carried out to its end"
        assert (self.line.cuts, self.kills) == (3, 1)
        assert sha256(self.stored) == sha256(film)
        assert self.memory.idle, "no web server was seen before"
        assert self.memory.samples > 5, "nobody looked while it happened"
        assert self.memory.growth <= ALLOWED_GROWTH, f"{self.memory.growth / 1e6:.0f} MB above idle"


@contextlib.contextmanager
def running(**environment: str) -> Iterator[Stack]:
    """Run a Throughline with one web process in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tl-proof-", dir="/tmp"))
    folder.chmod(0o755)  # the account of the embedded services must enter it
    try:
        with Stack(folder / "data", **{"WEB_PROCESSES": "1", "LOG_LEVEL": "error"} | environment) as stack:
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def by_tuspy(stack: Stack, film: Path, chunk_bytes: int) -> Proof:
    """Upload by tuspy, which asks for the offset after each break, and make a video of it by the API."""
    size, kills = film.stat().st_size, Kills(stack)
    plan = [(size * 2 // 10, CUT), (size * 4 // 10, CUT), (size * 5 // 10, kills.kill), (size * 7 // 10, CUT)]
    with stack.api("ada@example.org") as api, cutting(stack.port, plan) as line:
        api.get("/api/videos").raise_for_status()
        with watching(stack) as memory, film.open("rb") as stream:
            began = time.monotonic()
            client = TusClient(f"{line.url}/uploads/", headers={"Authorization": api.headers["Authorization"]})
            uploader = client.uploader(
                file_stream=stream, chunk_size=chunk_bytes, metadata={"filename": film.name}, retries=30, retry_delay=1
            )
            uploader.upload()
            made = api.post("/api/videos", json={"upload_id": uploader.url}, timeout=PATIENCE_SECONDS)
            seconds = time.monotonic() - began
    assert made.status_code == 201, made.text
    return Proof(seconds, line, memory, kills.count, stored_file(stack, made.json()["id"]))


def by_chromium(stack: Stack, film: Path, page: Page) -> Proof:
    """Upload on the upload page; half-way the page is reloaded and the same file chosen again."""
    size, kills, reload = film.stat().st_size, Kills(stack), Stop()
    plan = [
        (size * 2 // 10, CUT),
        (size * 3 // 10, CUT),
        (size * 5 // 10, reload.wait),
        (size * 7 // 10, kills.kill),
        (size * 8 // 10, CUT),
    ]
    with cutting(stack.port, plan) as line:
        page.on("dialog", lambda dialog: dialog.accept())  # "an upload is under way"
        page.goto(line.url + urlsplit(stack.sign_in_link()).path)
        page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
        expect(page.get_by_role("link", name="Library").first).to_be_visible()
        page.goto(f"{line.url}/upload")
        with watching(stack) as memory:
            began = time.monotonic()
            page.locator("[data-pick]").set_input_files(str(film))
            with reload.reached():
                page.reload()
            expect(page.get_by_text("Not finished")).to_be_visible()
            created = []
            page.on("request", lambda request: created.append(request.method) if request.method == "POST" else None)
            with page.expect_request(lambda request: request.method == "PATCH") as sent:
                page.locator("[data-pick]").set_input_files(str(film))
            assert created == [], "the same upload goes on"
            assert int(sent.value.headers["upload-offset"]) > 0, "what had arrived was sent again"
            expect(page.locator("[data-state]")).to_have_text("Added", timeout=PATIENCE_SECONDS * 1000)
            seconds = time.monotonic() - began
        video_id = page.locator("[data-open-video]").get_attribute("href").rpartition("/")[2]
    return Proof(seconds, line, memory, kills.count, stored_file(stack, video_id))


def stored_file(stack: Stack, video_id: str) -> Path:
    """Return where the video's file lies; nothing of its upload may lie elsewhere."""
    assert [path for path in (stack.folder / "uploads").iterdir() if path.is_file()] == []
    (found,) = (stack.folder / "files").glob(f"users/*/videos/{video_id}/source.*")
    return found


class Kills:
    """Kills the whole web server, which `throughline up` starts again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.count = 0

    def kill(self) -> None:
        """Kill -9 every process of it."""
        masters = masters_of(self._stack)
        victims = [*masters, *(child for each in masters for child in children_of(each, recursive=True))]
        assert victims
        for process in victims:
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                process.kill()
        self.count += 1


class Stop:
    """Holds the line where it is until something else is done."""

    def __init__(self) -> None:
        self._reached, self._over = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Say that the line has come here, and stay."""
        self._reached.set()
        self._over.wait(PATIENCE_SECONDS)

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Wait until the line is held; let it go at the end of the block."""
        assert self._reached.wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            self._over.set()
