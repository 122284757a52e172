"""Share links in a real browser: the owner makes, copies and ends one; a visitor watches, reads and searches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.engine import testing
from app.lib.ids import new_id
from app.videos import service, share_links
from app.videos.models import Outline
from tests.browser.conftest import assert_accessible, assert_fits
from tests.videos.talks import SAMPLES, again, make_video, say_uploaded

pytestmark = pytest.mark.browser

NOW = "document.querySelector('[data-player]').currentTime"


@pytest.fixture
def trees(app, alice, tmp_path):
    """A finished talk with captions and chapters."""
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    video = make_video(alice.user, tmp_path, sample="trees", captions=(SAMPLES / "trees.srt").read_bytes())
    say_uploaded(video)
    testing.drain()
    chapters = [
        {"segment": 0, "start_seconds": 0.0, "title": "Shade"},
        {"segment": 9, "start_seconds": 40.2, "title": "Where the water of a whole street goes when it rains hard"},
    ]
    summary = "Three things that a tree does for a street, and what it costs to plant one."
    about = {"transcript_id": again(video).transcript_id, "summary": summary, "chapters": chapters}
    db.session.add(Outline(video_id=video.id, model="a-model", run_id=new_id(), **about))
    db.session.commit()
    yield again(video)
    llm.install(app)


@pytest.fixture
def link(trees) -> str:
    found, _ = service.share(trees)
    db.session.commit()
    return f"/s/{share_links.page_token(found.id)}"


def picture(page, name: str) -> None:
    """Keep a picture for whoever looks (SCREENSHOTS=folder)."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (1440, "dark"), (390, "light")])
def test_the_visitor_s_page_fits_and_is_accessible(open_page, link, width, scheme):
    page = open_page(f"{link}?t=12", width=width, scheme=scheme)
    expect(page.locator(".cue[aria-current]")).to_have_count(1)
    picture(page, f"shared-{width}-{scheme}")
    assert_fits(page)
    assert_accessible(page)


def test_a_visitor_watches_seeks_reads_and_searches(open_page, link):
    page = open_page(link)
    page.wait_for_function("() => document.querySelector('[data-player]').readyState > 0")
    cue = page.locator(".cue", has_text="First, the leaves make shade")
    cue.locator(".cue-text > span").click(position={"x": 4, "y": 8})
    page.wait_for_function(f"() => {NOW} >= 11.6 && {NOW} < 14")
    page.get_by_role("link", name="Where the water of a whole street").click()
    page.wait_for_function(f"() => {NOW} >= 40.1 && {NOW} < 43")
    page.keyboard.press("/")
    page.keyboard.type("CELLARS")
    expect(page.locator("[data-inside-count]")).to_have_text("1 found")
    page.wait_for_function("() => document.querySelector('[data-player]').textTracks[0] !== undefined")
    page.evaluate("document.querySelector('[data-player]').textTracks[0].mode = 'showing'")
    page.wait_for_function("() => document.querySelector('[data-player]').textTracks[0].cues?.length > 5")


def test_without_javascript_a_visitor_reads_and_seeks_by_links(open_page, link):
    page = open_page(link, java_script_enabled=False, width=390)
    expect(page.locator(".transcript-head")).to_be_hidden()
    page.locator(".cue-time").nth(3).click()
    assert "?t=" in page.url
    assert "#t=" in page.locator("video").get_attribute("src")
    picture(page, "shared-no-script")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_owner_makes_copies_renews_and_ends_a_link(open_page, alice, trees, width, scheme):
    page = open_page(
        f"/videos/{trees.id}", user=alice.user, width=width, scheme=scheme, permissions=["clipboard-write"]
    )
    page.get_by_role("button", name="Share", exact=True).click()
    dialog = page.get_by_role("dialog", name="Share this video")
    expect(dialog).to_contain_text("your other videos")
    picture(page, f"share-none-{width}-{scheme}")
    assert_accessible(page)
    dialog.get_by_role("button", name="Create the link").click()
    field = dialog.get_by_label("The link")
    expect(field).to_be_visible()
    first = field.input_value()
    picture(page, f"share-open-{width}-{scheme}")
    assert_fits(page)
    assert_accessible(page)
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("status")).to_have_text("Copied.")
    field.focus()
    selected = "e => e.selectionEnd - e.selectionStart === e.value.length"
    assert field.evaluate(selected)
    dialog.get_by_role("button", name="Make a new link").click()
    expect(field).not_to_have_value(first)
    dialog.get_by_role("button", name="Stop sharing").click()
    expect(page.get_by_role("button", name="Share", exact=True)).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_without_javascript_a_link_is_made_and_ended(open_page, alice, trees):
    page = open_page(f"/videos/{trees.id}", user=alice.user, java_script_enabled=False)
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_role("button", name="Create the link").click()
    expect(page.get_by_label("The link")).to_have_value(f"{page.url.partition('/videos/')[0]}/s/{_token(trees)}")
    picture(page, "share-no-script")
    page.get_by_role("button", name="Stop sharing").click()
    expect(page.get_by_role("button", name="Share", exact=True)).to_be_visible()


def _token(video) -> str:
    from app.videos import queries_share

    db.session.rollback()
    return share_links.page_token(queries_share.find_open(again(video)).id)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_dead_link_is_a_page_that_says_what_to_do(open_page, width, scheme):
    page = open_page("/s/made-up", width=width, scheme=scheme)
    page.context.complaints.clear()  # Chromium logs a 404
    expect(page.get_by_text("Ask whoever sent it to you")).to_be_visible()
    picture(page, f"dead-{width}-{scheme}")
    assert_fits(page)
    assert_accessible(page)
