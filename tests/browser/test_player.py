"""The page of a video and search in a real browser: words that seek, keys, search inside, live arrival."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.engine import testing
from app.errors import Permanent
from app.videos.models import Video
from tests.browser.conftest import assert_accessible, assert_fits
from tests.videos.talks import SAMPLES, give_transcript, heard, make_video, say_uploaded

pytestmark = pytest.mark.browser

NOW = "document.querySelector('[data-player]').currentTime"


@pytest.fixture
def transcriber(app):
    made = FakeTranscriber(otherwise=heard("the moon pulls on everything on earth", seconds=4))
    llm.install(app, transcriber=made, embedder=FakeEmbedder())
    yield made
    llm.install(app)


@pytest.fixture
def trees(alice, transcriber, tmp_path) -> Video:
    """A finished talk with captions."""
    video = make_video(alice.user, tmp_path, sample="trees", captions=(SAMPLES / "trees.srt").read_bytes())
    say_uploaded(video)
    testing.drain()
    return video


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (360, "light")])
def test_a_finished_talk_fits_and_is_accessible(open_page, alice, trees, width, scheme):
    page = open_page(f"/videos/{trees.id}", user=alice.user, width=width, scheme=scheme)
    assert_fits(page)
    assert_accessible(page)


@pytest.mark.parametrize("width", [1440, 360])
def test_a_failed_talk_says_what_to_do(open_page, alice, transcriber, tmp_path, width):
    transcriber.script = [Permanent("The key was refused. Ask an administrator to check it.")]
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    page = open_page(f"/videos/{video.id}", user=alice.user, width=width)
    expect(page.get_by_role("alert")).to_contain_text("The key was refused")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)


def test_a_menu_of_a_phone_lies_on_the_screen_and_its_dialog_gives_the_focus_back(open_page, alice, trees):
    page = open_page(f"/videos/{trees.id}", user=alice.user, width=360)
    for text in ("Export", "More"):
        summary = page.locator("main summary", has_text=text) if text == "Export" else page.get_by_title(text)
        summary.click()
        box = page.locator("main details[open] > .menu-list").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360, text
    page.get_by_role("button", name="Delete", exact=True).first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_title("More")).to_be_focused()


def test_a_click_on_a_word_plays_from_it_and_its_cue_is_marked(open_page, alice, trees):
    page = open_page(f"/videos/{trees.id}", user=alice.user)
    cue = page.locator(".cue", has_text="First, the leaves make shade")
    cue.locator(".cue-text > span").click(position={"x": 4, "y": 8})
    page.wait_for_function(f"{NOW} >= 11.6 && {NOW} < 14")
    expect(cue).to_have_attribute("aria-current", "true")


def test_a_link_to_a_moment_opens_there(open_page, alice, trees):
    page = open_page(f"/videos/{trees.id}?t=40.2", user=alice.user)
    page.wait_for_function(f"Math.abs({NOW} - 40.2) < 1")
    expect(page.locator(".cue[aria-current]")).to_contain_text("less water runs into the drains")


def test_the_keyboard_moves_and_searches_inside(open_page, alice, trees):
    page = open_page(f"/videos/{trees.id}", user=alice.user)
    page.wait_for_function("document.querySelector('[data-player]').readyState > 0")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"Math.abs({NOW} - 5) < 0.5")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"{NOW} > 5.3")
    page.keyboard.press("/")
    page.keyboard.type("CELLARS")
    expect(page.locator("[data-inside-count]")).to_have_text("1 found")
    page.keyboard.press("Enter")
    expect(page.locator("[data-inside-count]")).to_have_text("1 of 1")
    page.wait_for_function(f"{NOW} > 34")
    page.keyboard.type("zzz")
    expect(page.locator("[data-inside-count]")).to_have_text("Nothing found")


def test_the_transcript_arrives_without_a_reload(open_page, alice, transcriber, tmp_path):
    video = make_video(alice.user, tmp_path)
    page = open_page(f"/videos/{video.id}", user=alice.user)
    expect(page.get_by_text("No transcript yet")).to_be_visible()
    page.evaluate("window.isTheSamePage = true")
    say_uploaded(video)
    testing.drain()
    expect(page.locator(".cue").first).to_contain_text("the moon")
    expect(page.locator(".watch-state")).to_have_attribute("data-status", "completed")
    expect(page.locator("summary", has_text="Export")).to_be_visible()
    assert page.evaluate("window.isTheSamePage")


def test_a_hit_opens_the_player_at_that_second(open_page, alice, trees):
    page = open_page("/search", user=alice.user)
    page.get_by_label("Words or a phrase").fill("drains at once")
    page.keyboard.press("Enter")
    hit = page.locator(".hit-link").first
    expect(hit.locator("mark").first).to_have_text("drains")
    assert_accessible(page)
    hit.click()
    # A function, not an expression: Chromium evaluates those under the page's CSP.
    page.wait_for_function(
        f"() => document.querySelector('[data-player]') && Math.abs({NOW} - 36.2) <= 5 && {NOW} > 30"
    )


def test_the_count_of_hits_is_said_by_a_line_that_stays(open_page, alice, trees):
    page = open_page("/search", user=alice.user)
    page.evaluate("document.getElementById('hits-count').isTheSame = true")
    for words, said in (("summer", "moment"), ("xylophone", "Nothing found")):
        page.get_by_role("searchbox").fill(words)
        page.keyboard.press("Enter")
        expect(page.locator("#hits-count")).to_contain_text(said)
        assert page.evaluate("document.getElementById('hits-count').isTheSame"), "else a screen reader says nothing"
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()


def test_words_of_a_hit_that_do_not_stand_side_by_side_are_found_inside(open_page, alice, trees):
    page = open_page(f"/videos/{trees.id}?t=13.29&q=shade+and+water", user=alice.user)
    expect(page.locator("[data-inside-count]")).to_have_text("5 found")
    page.get_by_label("Search in this transcript").fill("shade zeppelin nobody")
    expect(page.locator("[data-inside-count]")).to_have_text("1 found")
    page.get_by_label("Search in this transcript").fill("zeppelin")
    expect(page.locator("[data-inside-count]")).to_have_text("Nothing found")


def test_a_transcript_of_two_thousand_cues_stays_fast(open_page, alice, transcriber, tmp_path):
    video = make_video(alice.user, tmp_path)
    give_transcript(video, "every word of this long talk is here to be read. " * 2_000)
    db.session.commit()
    page = open_page(f"/videos/{video.id}", user=alice.user)
    took = page.evaluate("""() => {
      const begins = performance.now();
      const field = document.querySelector('[data-inside-search] input');
      field.value = 'talk';
      field.dispatchEvent(new Event('input', {bubbles: true}));
      return performance.now() - begins;
    }""")
    assert took < 1_000
    assert page.locator(".cue").count() >= 2_000
    expect(page.locator("[data-inside-count]")).to_have_text("2000 found")
