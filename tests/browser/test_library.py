"""The library in a browser: filtering while typing, selecting many, grid and list, and taking a deletion back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from app.db import db
from app.lib.clock import now
from app.videos.models import Video
from tests.browser.conftest import assert_accessible, assert_fits
from tests.videos.talks import give_transcript, make_video

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

TITLES = ("On tides", "On bread", "On trees", "On rings", "On moss")


@pytest.fixture
def talks(alice, tmp_path):
    """Five videos, the first one the newest."""
    return [
        make_video(
            alice.user, tmp_path, sample="", title=title, status="failed" if n == 1 else "completed",
            tags=["sea"] if n == 0 else [], created_at=now() - timedelta(hours=n),
        )
        for n, title in enumerate(TITLES)
    ]  # fmt: skip


def titles(page):
    return page.locator(".tile-title, .video-line .row-title")


def picks(page):
    return page.locator("[data-choice]")


def test_typing_filters_the_list_keeps_the_address_and_the_focus(open_page, alice, talks):
    page = open_page("/videos", user=alice.user)
    field = page.get_by_role("searchbox")
    field.press_sequentially("bread", delay=20)
    expect(titles(page)).to_have_text(["On bread"])
    expect(page).to_have_url(re.compile(r"/videos\?q=bread$"))
    expect(field).to_be_focused()
    page.reload()
    expect(titles(page)).to_have_text(["On bread"])
    expect(field).to_have_value("bread")


def test_the_back_button_undoes_a_choice_and_typing_leaves_no_trail(open_page, alice, talks):
    page = open_page("/account", user=alice.user)
    page.goto("/videos")
    status = page.get_by_role("combobox", name="Status")
    status.select_option("failed")
    expect(titles(page)).to_have_text(["On bread"])
    page.get_by_role("searchbox").fill("zebra")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    page.go_back()
    expect(titles(page)).to_have_count(5)
    expect(status).to_have_value("")
    expect(page.get_by_role("searchbox")).to_have_value("")
    page.go_forward()
    expect(page.get_by_role("searchbox")).to_have_value("zebra")
    expect(page.get_by_text("Nothing found")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page).to_have_url(re.compile(r"/account$"))


def test_fast_typing_ends_with_what_was_typed_last(open_page, alice, talks):
    page = open_page("/videos", user=alice.user)
    field = page.get_by_role("searchbox")
    for text in ("tides", "bread", "", "moss"):
        field.fill(text)
        page.wait_for_function("text => new URLSearchParams(location.search).get('q') === (text || null)", arg=text)
    expect(titles(page)).to_have_text(["On moss"])


def test_shift_selects_a_range_and_one_box_all(open_page, alice, talks):
    page = open_page("/videos?view=list", user=alice.user)
    bar = page.locator("#bulk")
    expect(bar).to_be_hidden()
    picks(page).nth(0).click()
    picks(page).nth(2).click(modifiers=["Shift"])
    expect(bar).to_contain_text("3 selected")
    assert [pick.is_checked() for pick in picks(page).all()] == [True, True, True, False, False]
    every = page.get_by_label("Select all shown")
    expect(every).to_be_checked(indeterminate=True)
    every.focus()
    page.keyboard.press("Space")
    expect(bar).to_contain_text("5 selected")
    page.get_by_role("button", name="Select none").click()
    expect(bar).to_be_hidden()


def test_a_live_update_keeps_what_is_selected(open_page, alice, talks, app):
    from app import live

    page = open_page("/videos", user=alice.user)
    picks(page).nth(1).check()
    talks[1].title = "On bread, renamed"
    live.touch(f"video:{talks[1].id}")
    db.session.commit()
    expect(titles(page).nth(1)).to_have_text("On bread, renamed")
    expect(picks(page).nth(1)).to_be_checked()
    expect(page.locator("#bulk")).to_contain_text("1 selected")


def test_many_are_deleted_after_a_question_and_taken_back_together(open_page, alice, talks):
    page = open_page("/videos", user=alice.user)
    for number in (0, 1, 2):
        picks(page).nth(number).check()
    page.locator("#bulk summary[aria-label=More]").click()
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog", name="Delete these 3 videos?")
    assert_accessible(page)
    question.get_by_text("Not now").click()
    expect(question).to_be_hidden()
    expect(page.locator("#bulk")).to_contain_text("3 selected")
    page.locator("#bulk summary[aria-label=More]").click()
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    question.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("3 videos were deleted")).to_be_visible()
    expect(titles(page)).to_have_text(list(TITLES[3:]))
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("3 videos are back.")).to_be_visible()
    expect(titles(page)).to_have_count(5)


def test_one_is_deleted_on_its_page_and_taken_back_in_the_library(open_page, alice, talks):
    page = open_page(f"/videos/{talks[0].id}", user=alice.user)
    page.locator("summary[aria-label=More]").click()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("“On tides” was deleted")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(titles(page)).to_have_count(5)


def test_tags_are_given_to_many_and_lead_to_them(open_page, alice, talks):
    page = open_page("/videos", user=alice.user)
    picks(page).nth(2).check()
    picks(page).nth(3).check()
    page.locator("#bulk").get_by_text("Tags", exact=True).click()
    page.get_by_label("Tag", exact=True).fill("wood")
    page.locator("#bulk").get_by_role("button", name="Add").click()
    expect(page.get_by_text("2 videos tagged “wood”.")).to_be_visible()
    page.get_by_role("navigation", name="Tags").get_by_role("link", name="wood").click()
    expect(titles(page)).to_have_text(["On trees", "On rings"])
    page.get_by_role("navigation", name="Tags").get_by_role("link", name="No longer only wood").click()
    expect(titles(page)).to_have_count(5)


def test_transcripts_of_many_are_downloaded_as_one_file(open_page, alice, talks):
    give_transcript(talks[0], "The moon pulls.")
    page = open_page("/videos", user=alice.user)
    page.get_by_label("Select all shown").check()
    page.locator("#bulk").get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.locator("#bulk").get_by_role("button", name="Download").click()
    assert re.fullmatch(r"transcripts-[\d-]+\.zip", download.value.suggested_filename)


def test_a_video_is_renamed_in_its_menu(open_page, alice, talks):
    page = open_page("/videos", user=alice.user)
    page.locator(".video-card summary").first.click()
    page.get_by_role("link", name="Rename, tags").click()
    dialog = page.get_by_role("dialog", name="Details")
    title = dialog.get_by_label("Title")
    expect(title).to_be_focused()
    title.fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("Write a title.")).to_be_visible()
    page.context.complaints.clear()  # that it was refused
    assert_accessible(page)
    title.fill("On the sea")
    dialog.get_by_label("Tags").fill("sea, salt")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(titles(page).first).to_have_text("On the sea")
    expect(page.get_by_role("navigation", name="Tags")).to_contain_text("salt")


def test_without_javascript_it_is_a_form(open_page, alice, talks):
    page = open_page("/videos", user=alice.user, java_script_enabled=False)
    picks(page).nth(0).check()
    page.locator("#bulk summary[aria-label=More]").click()
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("“On tides” was deleted")).to_be_visible()
    page.get_by_role("link", name="List").click()
    expect(page.locator(".video-line")).to_have_count(4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("view", ["grid", "list"])
def test_the_library_is_accessible_and_fits(open_page, alice, talks, tmp_path, view, width, scheme):  # noqa: PLR0917
    make_video(
        alice.user, tmp_path, sample="", title="Averylongtitle" * 20, tags=["averylongtag" * 5] * 3, status="failed",
        error_message="Something without a space " + "x" * 200, waveform=[0.5] * 1000, video_codec=None,
    )  # fmt: skip
    page = open_page(f"/videos?view={view}", user=alice.user, width=width, scheme=scheme)
    picks(page).nth(0).check()
    expect(page.locator("#bulk")).to_contain_text("1 selected")
    assert_accessible(page)
    assert_fits(page)


def test_the_waveform_shows_how_far_it_is_and_a_click_goes_there(open_page, alice, tmp_path):
    video = make_video(alice.user, tmp_path, waveform=[0.2, 0.9] * 500)
    page = open_page(f"/videos/{video.id}", user=alice.user)
    page.wait_for_function("() => document.querySelector('[data-player]').duration > 0")
    box = page.locator("[data-waveform]").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    page.wait_for_function("""() => {
        const player = document.querySelector('[data-player]');
        const done = Number(document.querySelector('[data-waveform-done]').getAttribute('width'));
        return Math.abs(player.currentTime - player.duration / 2) < 1 && done > 300;
    }""")


def test_five_hundred_videos_come_a_page_at_a_time(open_page, alice, tmp_path):
    make_video(alice.user, tmp_path, sample="", status="completed")
    columns = ", ".join(c.name for c in Video.__table__.columns if c.name not in ("id", "storage_key"))
    db.session.execute(
        db.text(
            f"INSERT INTO video (id, storage_key, {columns}) "
            f"SELECT gen_random_uuid(), storage_key || n, {columns} FROM video, generate_series(2, 500) n"
        )
    )
    db.session.commit()
    page = open_page("/videos", user=alice.user)
    expect(page.get_by_text("500 videos")).to_be_visible()
    expect(titles(page)).to_have_count(24)
    page.get_by_label("Select all shown").check()
    page.get_by_label("All 500 of them").check()
    expect(page.locator("#bulk")).to_contain_text("500 selected")
    page.get_by_role("link", name="Next").click()
    expect(titles(page)).to_have_count(24)
