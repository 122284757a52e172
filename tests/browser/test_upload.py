"""Uploads and the library in a real browser: files, captions, pause, reload, no JavaScript, a second tab."""

from __future__ import annotations

import io

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from app.db import db
from app.engine import testing
from app.videos import queries, service, service_uploads
from app.videos.models import Upload, Video
from tests.browser.conftest import PATIENCE_MS, assert_accessible, assert_fits
from tests.signals import eventually
from tests.videos.browsing import post_video
from tests.videos.media_files import FORMATS, make_media
from tests.videos.talks import make_video

pytestmark = pytest.mark.browser

SRT = "1\n00:00:00,000 --> 00:00:02,000\nHello\n"
SLOW = 150_000  # bytes a second


@pytest.fixture
def talk(tmp_path):
    """1.5 MB of sound: ten seconds on a slow line."""
    return make_media(tmp_path / "My talk.wav", seconds=16)


def slow_down(page: Page, bytes_a_second: int = SLOW, *, is_offline: bool = False) -> None:
    """Let the page send so slowly, or at full speed again (-1), or not at all."""
    if not hasattr(page, "devtools"):
        page.devtools = page.context.new_cdp_session(page)
        page.devtools.send("Network.enable")
    speeds = {"downloadThroughput": -1, "uploadThroughput": bytes_a_second}
    page.devtools.send("Network.emulateNetworkConditions", {"offline": is_offline, "latency": 0, **speeds})


def videos() -> list[Video]:
    db.session.rollback()
    return list(db.session.scalars(sa.select(Video).order_by(Video.title)))


def uploads() -> list[Upload]:
    db.session.rollback()
    return list(db.session.scalars(sa.select(Upload)))


def choose(page: Page, *paths) -> None:
    page.locator("[data-pick]").set_input_files([str(path) for path in paths])


def wait_for_bytes(page: Page) -> int:
    """Wait until some bytes of the only upload, but not all, have arrived."""
    page.wait_for_function("() => document.querySelector('[data-bar]')?.value > 5")
    eventually(lambda: uploads() and service_uploads.offset_of(uploads()[0]) > 0)
    return service_uploads.offset_of(uploads()[0])


def test_several_files_with_captions_matched_by_name_become_videos(open_page, alice, tmp_path):
    one, two = make_media(tmp_path / "Tides.mp4"), make_media(tmp_path / "Bread.m4a", seconds=3)
    beside, other = tmp_path / "tides.en.srt", tmp_path / "nobody.srt"
    for path in (beside, other):
        path.write_text(SRT)
    page = open_page("/videos", user=alice.user)
    expect(page.get_by_text("No videos yet")).to_be_visible()
    choose(page, two, other, beside, one)
    row = page.locator(".upload-row", has_text="Tides.mp4")
    expect(row).to_contain_text("with tides.en.srt")
    expect(page.locator(".upload-row", has_text="Bread.m4a")).not_to_contain_text("with")
    expect(page.locator("[data-state]", has_text="Added")).to_have_count(2)
    expect(page.locator("#library .video-card")).to_have_count(2, timeout=PATIENCE_MS)
    expect(page.get_by_text("No videos yet")).to_be_hidden()
    expect(page.get_by_role("link", name="Upload", exact=True)).to_be_visible()  # without a reload, like the filters
    expect(page.get_by_role("searchbox", name="Filter by title")).to_be_visible()
    expect(page.get_by_role("button", name="Remove Tides.mp4")).to_be_visible()
    bread, tides = videos()
    assert (bread.title, bool(bread.captions_key)) == ("Bread", False)
    assert (tides.title, bool(tides.captions_key)) == ("Tides", True)
    assert_accessible(page)
    assert page.evaluate("localStorage.length") == 0  # nothing is left to go on with


def test_a_refusal_is_said_in_the_row_and_the_same_content_is_offered(open_page, alice, tmp_path):
    (tmp_path / "notes.mp4").write_text("Dear diary")
    (tmp_path / "empty.mp3").touch()
    page = open_page("/upload", user=alice.user)
    choose(page, tmp_path / "notes.mp4", tmp_path / "empty.mp3")
    expect(page.locator(".upload-row", has_text="notes.mp4")).to_contain_text("not a video or sound file")
    expect(page.locator(".upload-row", has_text="empty.mp3")).to_contain_text("This file is empty")
    page.context.complaints.clear()  # the console tells of the 422
    first = make_media(tmp_path / "first.m4a", seconds=3)
    choose(page, first)
    expect(page.locator(".upload-row", has_text="first.m4a")).to_contain_text("Added")
    choose(page, first.rename(tmp_path / "second.m4a"))
    row = page.locator(".upload-row", has_text="second.m4a")
    expect(row).to_contain_text("You have this file already")
    page.context.complaints.clear()  # and of the 409
    row.get_by_role("button", name="Add it all the same").click()
    expect(row).to_contain_text("Added")
    assert len(videos()) == 2


def test_an_upload_is_paused_and_goes_on_where_it_stopped(open_page, alice, talk):
    page = open_page("/upload", user=alice.user)
    slow_down(page)
    choose(page, talk)
    wait_for_bytes(page)
    with page.expect_event("requestfailed"):  # lifting the brake before the request has ended would let all bytes pass
        page.get_by_role("button", name="Pause My talk.wav").click()
    expect(page.locator("[data-state]")).to_have_text("Paused")
    slow_down(page, -1)
    with page.expect_request(lambda request: request.method == "PATCH") as sent:
        page.get_by_role("button", name="Go on My talk.wav").click()
    assert int(sent.value.headers["upload-offset"]) > 0
    expect(page.locator("[data-state]")).to_have_text("Added")
    (video,) = videos()
    assert video.size_bytes == talk.stat().st_size


def test_uploads_whose_connection_is_lost_go_on_by_themselves_when_it_is_back(open_page, alice, tmp_path):
    talks = [make_media(tmp_path / f"{number}.m4a", seconds=2 + number) for number in range(7)]  # more than go at once
    page = open_page("/upload", user=alice.user)
    slow_down(page, -1, is_offline=True)
    choose(page, *talks)
    expect(page.locator("[data-error]", has_text="goes on by itself when you are online again")).to_have_count(7)
    page.context.complaints.clear()  # the console tells of what could not be sent
    slow_down(page, -1)
    expect(page.locator("[data-state]", has_text="Added")).to_have_count(7)
    expect(page.locator("[data-error]:visible")).to_have_count(0)
    assert len(videos()) == 7


def test_an_upload_that_a_person_has_paused_stays_paused_when_the_connection_comes_back(open_page, alice, talk):
    page = open_page("/upload", user=alice.user)
    slow_down(page)
    choose(page, talk)
    wait_for_bytes(page)
    page.get_by_role("button", name="Pause My talk.wav").click()
    slow_down(page, is_offline=True)
    with page.expect_event("console", lambda message: message.text == "it is back"):
        page.evaluate("window.addEventListener('online', () => setTimeout(() => console.log('it is back')))")
        slow_down(page, -1)
    expect(page.locator("[data-state]")).to_have_text("Paused")


def test_a_file_whose_check_was_cut_off_is_checked_when_the_connection_is_back(open_page, alice, talk):
    page = open_page("/upload", user=alice.user)
    page.route("**/api/videos", lambda route: (slow_down(page, is_offline=True), route.abort())[1])
    choose(page, talk)
    expect(page.locator(".upload-row")).to_contain_text("nothing has to be sent twice")
    page.context.complaints.clear()
    page.unroute("**/api/videos")
    slow_down(page, -1)
    expect(page.locator("[data-state]")).to_have_text("Added")
    assert len(videos()) == 1


def test_an_upload_is_cancelled_and_leaves_nothing(open_page, alice, talk):
    page = open_page("/upload", user=alice.user)
    slow_down(page)
    choose(page, talk)
    wait_for_bytes(page)
    (upload,) = uploads()
    path = service_uploads.path_of(upload)
    page.get_by_role("button", name="Cancel My talk.wav").click()
    expect(page.locator(".upload-row")).to_have_count(0)
    eventually(lambda: not uploads() and not path.exists())
    assert videos() == []


def test_a_reload_in_mid_upload_goes_on_when_the_file_is_chosen_again(open_page, alice, talk):
    page = open_page("/upload", user=alice.user)
    page.on("dialog", lambda dialog: dialog.accept())  # "an upload is under way"
    slow_down(page)
    choose(page, talk)
    wait_for_bytes(page)
    page.reload()
    expect(page.get_by_text("Not finished")).to_be_visible()
    slow_down(page, -1)
    with page.expect_request(lambda request: request.method == "PATCH") as sent:
        choose(page, talk)
    assert int(sent.value.headers["upload-offset"]) > 0
    expect(page.locator("[data-state]")).to_have_text("Added")
    assert [video.size_bytes for video in videos()] == [talk.stat().st_size]
    assert len(uploads()) == 1


@pytest.mark.parametrize("is_slow", [True, False])
def test_two_tabs_that_upload_the_same_file_at_once_make_one_video_and_each_says_which(open_page, alice, talk, is_slow):
    first = open_page("/upload", user=alice.user)
    second = first.context.new_page()
    second.goto("/upload")
    if is_slow:  # then the second finds the upload of the first, and would go on with it
        slow_down(first)
        choose(first, talk)
        wait_for_bytes(first)
        choose(second, talk)
        slow_down(first, -1)
    else:
        choose(first, talk)
        choose(second, talk)
    for page in (first, second):
        expect(page.get_by_role("link", name="Open My talk")).to_be_visible()
    assert len(videos()) == 1
    first.context.complaints.clear()  # the console tells of the 409


def test_a_connection_lost_while_the_file_is_checked_costs_no_second_sending(open_page, alice, talk):
    page = open_page("/upload", user=alice.user)
    page.route("**/api/videos", lambda route: route.abort())
    choose(page, talk)
    expect(page.locator(".upload-row")).to_contain_text("nothing has to be sent twice")
    page.context.complaints.clear()
    page.unroute("**/api/videos")
    sent = []
    page.on("request", lambda request: sent.append(request.method) if "/uploads/" in request.url else None)
    choose(page, talk)
    expect(page.locator("[data-state]").last).to_have_text("Added")
    assert sent == ["HEAD"]
    assert len(videos()) == 1


@pytest.mark.parametrize("width", [1440, 360])
def test_without_javascript_the_plain_form_takes_a_file_and_its_captions(open_page, alice, tmp_path, width):
    source, beside = make_media(tmp_path / "talk.m4a", seconds=3), tmp_path / "talk.srt"
    beside.write_text(SRT)
    page = open_page("/upload", user=alice.user, width=width, java_script_enabled=False)
    page.locator("#upload-file").set_input_files(str(source))
    page.locator("#upload-captions").set_input_files(str(beside))
    page.locator("#upload-title").fill("On bread")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("On bread")
    (video,) = videos()
    assert page.url.endswith(f"/videos/{video.id}")
    assert video.captions_key


def test_a_second_tab_sees_what_comes_and_goes_and_keeps_its_filter(open_page, alice, tmp_path):
    make_video(alice.user, tmp_path, sample="", title="Old")
    second, filtered = open_page("/videos", user=alice.user), open_page("/videos?q=bread", user=alice.user)
    for page in (second, filtered):
        page.evaluate("window.isTheSamePage = true")
    first = open_page("/videos", user=alice.user)
    first.get_by_role("link", name="Upload").first.click()
    choose(first, make_media(tmp_path / "Tides.m4a", seconds=3))
    for page in (first, second):
        expect(page.locator("#library .video-card")).to_have_count(2, timeout=PATIENCE_MS)
    expect(filtered.get_by_text("Nothing found")).to_be_visible()
    tides = next(video for video in videos() if video.title == "Tides")
    service.cancel(tides)
    db.session.commit()
    expect(second.locator(f"#video-card-{tides.id}")).to_have_attribute("data-status", "cancelled")  # it is watched too
    service.delete(queries.get_for(alice.user, tides.id))
    db.session.commit()
    expect(second.locator("#library .video-card")).to_have_count(1, timeout=PATIENCE_MS)
    assert second.evaluate("window.isTheSamePage")
    assert filtered.evaluate("window.isTheSamePage")


PLAYER = "document.querySelector('[data-player]')"


@pytest.mark.timeout(180)
def test_every_format_plays_and_seeks_some_as_a_copy(open_page, alice, tmp_path):
    page = open_page("/upload", user=alice.user)
    copied = []
    for number, kind in enumerate(FORMATS):
        path = make_media(tmp_path / f"talk.{kind}", 4.5 + number / 50)  # else the same content comes twice
        made = post_video(alice, path.read_bytes(), path.name, captions=(io.BytesIO(SRT.encode()), "talk.srt"))
        assert made.status_code == 201, made.text
        page.goto(f"/videos/{made.json['id']}")
        if page.locator("[data-playback=making]").count():
            copied.append(kind)
            assert_fits(page)
        testing.drain()  # and the player gets the copy without a reload
        page.wait_for_function(f"() => {PLAYER}.duration > 4")
        page.evaluate(f"{PLAYER}.muted = true; {PLAYER}.play()")
        page.wait_for_function(f"() => {PLAYER}.currentTime > 0.3")
        page.evaluate(f"{PLAYER}.pause()")
        for at in (3, 1):
            page.evaluate(f"{PLAYER}.currentTime = {at}")
            page.wait_for_function(f"() => !{PLAYER}.seeking && Math.abs({PLAYER}.currentTime - {at}) < 0.1")
        if FORMATS[kind][2]:
            assert page.evaluate(f"{PLAYER}.videoWidth") == 160, kind
    assert copied == ["mkv", "avi"]
