"""The main job as a new user does it, in real Chromium against `throughline up` with nothing replaced."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pysubs2
import pytest
from playwright.sync_api import Page, expect

from tests.stack import Stack

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TALK_MS = 150_000

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket, pytest.mark.timeout(300)]

DROP = """([selector, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), character => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type}));
  const target = document.querySelector(selector);
  for (const kind of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""

# Notes every state that the card goes through, in this very document: a reload would lose the notes.
WATCH = """() => {
  window.seen = {statuses: new Set(), percents: new Set()};
  const look = () => {
    const card = document.querySelector("[data-video]");
    if (!card) return;
    window.seen.statuses.add(card.dataset.status);
    const bar = card.querySelector("progress");
    if (bar) window.seen.percents.add(bar.hasAttribute("value") ? bar.value : -1);
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("journey") / "data") as running:
        yield running


@pytest.fixture
def page(chromium, stack):
    context = chromium.new_context(base_url=stack.url, viewport={"width": 1440, "height": 900}, accept_downloads=True)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def sign_in_by_printed_link(page: Page, stack: Stack) -> None:
    page.goto(stack.sign_in_link())
    page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    expect(page.get_by_role("link", name="Library").first).to_be_visible()


def test_from_the_printed_link_to_a_found_sentence(page, stack):
    talk = next(entry for entry in json.loads((SAMPLES / "index.json").read_text()) if entry["name"] == "tides")
    frames: list[object] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))  # noqa: PLW0108
    sign_in_by_printed_link(page, stack)

    page.get_by_role("link", name="Library").first.click()
    page.wait_for_url("**/videos*")
    page.evaluate(WATCH)
    data = base64.b64encode((SAMPLES / talk["file"]).read_bytes()).decode()
    page.evaluate(DROP, ["[data-drop]", talk["file"], "video/mp4", data])
    expect(page.locator("[data-video][data-status=completed]")).to_be_visible(timeout=TALK_MS)

    seen = page.evaluate("() => ({statuses: [...window.seen.statuses], percents: [...window.seen.percents]})")
    assert {"transcribing", "completed"} <= set(seen["statuses"]), seen
    assert len(seen["percents"]) >= 3, seen
    assert frames, "the progress came over the WebSocket"

    phrase = talk["phrases"][0]
    page.get_by_role("link", name="Search").first.click()
    page.get_by_role("searchbox").first.fill(phrase["text"])
    page.keyboard.press("Enter")
    page.locator(".hit-link").first.click()
    page.wait_for_url("**/videos/*")
    page.wait_for_function("() => document.querySelector('#player').currentTime > 0")
    assert abs(page.evaluate("() => document.querySelector('#player').currentTime") - phrase["seconds"]) <= 5

    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("VTT")).click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.startswith("WEBVTT")
    assert len(pysubs2.SSAFile.from_string(text)) > 5
