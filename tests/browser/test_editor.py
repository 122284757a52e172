"""The editor of a transcript in a real browser: cues, keys, drafts, saving, and another version that came meanwhile."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.lib.words import split_words
from app.videos import queries_transcript, queries_versions, service_editing
from app.videos.models import Video
from app.videos.operations import SetText
from tests.browser.conftest import assert_accessible, assert_fits
from tests.videos.talks import again, give_transcript, make_video

pytestmark = pytest.mark.browser

TEXT = (
    "The tide comes in twice a day. The moon pulls the water towards it. "
    "On the far side the water rises too. Sailors have known it for ages. "
    "A harbour keeps a table of the tides. The table is made a year ahead."
)


@pytest.fixture
def video(app, alice, tmp_path) -> Video:
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    made = make_video(alice.user, tmp_path)
    give_transcript(made, TEXT, model="yes")
    yield made
    llm.install(app)


@pytest.fixture
def page(open_page, alice, video) -> Page:
    opened = open_page(f"/videos/{video.id}", user=alice.user)
    opened.wait_for_function("() => document.querySelector('[data-player]').readyState > 0")
    return opened


def edit(page: Page) -> None:
    page.keyboard.press("e")
    expect(page.locator("[data-edit-tools]")).to_be_visible()


def open_cue(page: Page, words: str):
    """Open a cue by its words; return its text field."""
    page.locator(".cue-text", has_text=words).click()
    field = page.get_by_label("Text of this cue")
    expect(field).to_be_focused()
    return field


def save(page: Page, number: int) -> None:
    page.keyboard.press("Control+s")
    expect(page.locator("#toasts")).to_contain_text(f"Saved as version {number}")
    expect(page.locator("[data-edit-bar]")).to_be_hidden()


def texts(video: Video) -> list[str]:
    """The words of each cue of the transcript that is shown, as the database has them."""
    db.session.rollback()
    return [" ".join(cue.text.split()) for cue in queries_transcript.list_cues(again(video).transcript_id)]


def shown(page: Page) -> list[str]:
    return page.locator(".cue-text > span:not(.cue-unsure)").all_text_contents()


def edit_elsewhere(video: Video, cue: int, text: str) -> None:
    """What another tab or program does meanwhile."""
    found = again(video)
    service_editing.edit_transcript(found, found.transcript_id, [SetText(cue, text)])
    db.session.commit()


def test_a_cue_is_corrected_with_the_keyboard_alone_and_saved_as_a_version(page, video):
    edit(page)
    expect(page.locator(".cue-text").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    field = page.get_by_label("Text of this cue")
    expect(field).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("The moon draws the water.")
    page.keyboard.press("Control+Enter")
    expect(field).to_have_value("On the far side the water rises too.")
    page.keyboard.press("Escape")
    expect(page.locator("[data-edit-count]")).to_have_text("1 change")
    page.evaluate("window.isTheSamePage = true")
    save(page, 2)
    assert texts(video)[1] == "The moon draws the water."
    assert shown(page) == texts(video)
    assert page.evaluate("window.isTheSamePage")
    page.keyboard.press("e")
    expect(page.locator("[data-edit-tools]")).to_be_hidden()
    expect(page.locator("[data-edit]")).to_be_focused()


def test_cues_are_split_merged_deleted_and_inserted_as_the_server_does_it(page, video):
    edit(page)
    field = open_cue(page, "Sailors have known it")
    field.evaluate("field => field.setSelectionRange(12, 12)")
    page.keyboard.press("Control+Shift+S")
    expect(field).to_have_value("known it for ages.")
    page.keyboard.press("Control+Shift+ArrowUp")
    expect(field).to_have_value("Sailors have known it for ages.")
    page.get_by_role("button", name="Insert a cue after this one").click()
    expect(field).to_have_value("…")
    page.keyboard.type("They still do.")
    page.keyboard.press("Control+Enter")
    expect(field).to_have_value("A harbour keeps a table of the tides.")
    page.keyboard.press("Control+Shift+Backspace")
    before = shown(page)
    assert before[-3:] == ["Sailors have known it for ages.", "They still do.", "The table is made a year ahead."]
    save(page, 2)
    assert texts(video) == before == shown(page)


def test_speakers_are_named_for_a_stretch_and_renamed_everywhere(page, video):
    edit(page)
    open_cue(page, "The tide comes in")
    page.get_by_label("Speaker", exact=True).fill("Ada")
    page.get_by_label("also those after it").check()
    page.get_by_label("Speaker", exact=True).press("Tab")
    expect(page.locator(".cue-speaker")).to_have_count(1)
    page.get_by_label("Text of this cue").press("Enter")
    open_cue(page, "Sailors have known")
    page.get_by_label("Speaker", exact=True).fill("Bob")
    page.get_by_label("Text of this cue").press("Enter")
    expect(page.locator(".cue-speaker")).to_have_text(["Ada", "Bob", "Ada"])
    page.get_by_role("button", name="Speakers").click()
    page.get_by_label("Ada · 5 cues").fill("Ada Lovelace")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator(".cue-speaker")).to_have_text(["Ada Lovelace", "Bob", "Ada Lovelace"])
    save(page, 2)
    db.session.rollback()
    cues = queries_transcript.list_cues(again(video).transcript_id)
    assert [cue.speaker for cue in cues] == ["Ada Lovelace"] * 3 + ["Bob"] + ["Ada Lovelace"] * 2


def test_replace_all_counts_before_it_does_it_and_can_be_taken_back(page, video):
    edit(page)
    page.get_by_role("button", name="Replace").click()
    dialog = page.get_by_role("dialog", name="Replace all")
    dialog.get_by_label("Find").fill("table")
    dialog.get_by_label("Replace with").fill("chart")
    expect(dialog.locator("[data-replace-count]")).to_have_text("2 places will read “chart”.")
    dialog.get_by_label("Find").fill("tab")
    expect(dialog.locator("[data-replace-count]")).to_have_text("Nothing found.")
    dialog.get_by_label("Whole words only").uncheck()
    dialog.get_by_label("Find").fill("TABLE")
    expect(dialog.locator("[data-replace-count]")).to_have_text("2 places will read “chart”.")
    dialog.get_by_role("button", name="Replace").click()
    assert next(text for text in shown(page) if "chart" in text) == "A harbour keeps a chart of the tides."
    page.keyboard.press("Control+z")
    assert not [text for text in shown(page) if "chart" in text]
    expect(page.locator("[data-edit-bar]")).to_be_hidden()
    page.keyboard.press("Control+Shift+Z")
    save(page, 2)
    assert texts(video) == shown(page)


def test_times_are_nudged_typed_and_kept_out_of_the_neighbours(page, video):
    edit(page)
    open_cue(page, "The moon pulls")
    start = page.get_by_label("Start", exact=True)
    before = start.input_value()
    page.get_by_role("button", name="Start 0.1 s later").click()
    assert start.input_value() != before
    start.press("ArrowDown")
    expect(start).to_have_value(before)
    expect(page.locator("[data-edit-bar]")).to_be_hidden()
    start.fill("0:00")
    start.press("Tab")
    expect(page.locator("[data-cue-error]")).to_contain_text("There is room from")
    start.fill("soon")
    start.press("Tab")
    expect(page.locator("[data-cue-error]")).to_contain_text("Write a time such as")


def test_escape_undoes_the_cue_first_and_then_closes_it(page):
    edit(page)
    field = open_cue(page, "The tide comes in")
    field.fill("Nonsense")
    page.keyboard.press("Escape")
    expect(field).to_have_value("The tide comes in twice a day.")
    expect(page.locator("[data-edit-bar]")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    expect(page.locator(".cue-text").first).to_be_focused()


def test_a_reload_loses_nothing_and_offers_the_draft(page, video):
    edit(page)
    open_cue(page, "The tide comes in").fill("The tide comes in twice every day.")
    page.on("dialog", lambda dialog: dialog.accept())  # "Leave this page?" is the browser's
    page.reload()
    draft = page.get_by_role("dialog", name="Go on where you stopped?")
    expect(draft).to_contain_text("1 change to version 1")
    assert_accessible(page)
    draft.get_by_role("button", name="Take them up again").click()
    expect(page.locator(".cue-text").first).to_have_text("The tide comes in twice every day.")
    save(page, 2)
    assert texts(video)[0] == "The tide comes in twice every day."
    page.reload()
    expect(page.locator(".cue").first).to_be_visible()
    expect(draft).to_be_hidden()


def test_discarding_brings_the_saved_words_back(page):
    edit(page)
    open_cue(page, "The tide comes in").fill("Nonsense")
    page.get_by_role("button", name="Discard", exact=True).first.click()
    page.get_by_role("dialog", name="Discard your changes?").get_by_role("button", name="Discard").click()
    expect(page.locator(".cue-text").first).to_have_text("The tide comes in twice a day.")
    assert not page.evaluate("Object.keys(localStorage).filter(name => name.includes('draft')).length")


def test_changes_are_brought_onto_a_version_that_came_meanwhile(page, video):
    edit(page)
    open_cue(page, "The tide comes in").fill("The tide comes in twice every day.")
    page.keyboard.press("Enter")
    open_cue(page, "A harbour keeps").fill("Every harbour keeps a table.")
    page.keyboard.press("Enter")
    edit_elsewhere(video, 4, "Harbours print a table of the tides.")
    expect(page.locator("[data-edit-news]")).to_contain_text("A newer version is there")
    page.keyboard.press("Control+s")
    dialog = page.get_by_role("dialog", name="The transcript was changed meanwhile")
    expect(dialog).to_contain_text("1 place can be brought onto it; 1 place cannot")
    expect(dialog.locator("[data-conflict-left] li")).to_contain_text("Every harbour keeps a table.")
    assert_accessible(page)
    page.context.complaints.clear()  # Chromium writes down the 409
    dialog.get_by_role("button", name="Apply my changes to it").click()
    expect(page.locator(".cue-text").nth(4)).to_have_text("Harbours print a table of the tides.")
    save(page, 3)
    assert [texts(video)[0], texts(video)[4]] == [
        "The tide comes in twice every day.",
        "Harbours print a table of the tides.",
    ]


def test_who_only_reads_sees_the_new_version_at_once(page, video):
    edit_elsewhere(video, 0, "High water comes twice a day.")
    expect(page.locator(".cue-text").first).to_have_text("High water comes twice a day.")


def test_an_old_version_is_compared_and_restored(open_page, alice, video):
    edit_elsewhere(video, 0, "High water comes twice a day.")
    page = open_page(f"/videos/{video.id}/versions", user=alice.user)
    page.get_by_label("Actions for version 1").click()
    page.get_by_role("link", name="Compare with the one shown").click()
    expect(page.locator(".hunk ins").first).to_contain_text("High water")
    expect(page.locator(".hunk del").first).to_contain_text("removed: The tide")
    assert_accessible(page)
    assert_fits(page)
    page.go_back()
    page.get_by_label("Actions for version 1").click()
    page.get_by_role("button", name="Restore").click()
    page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    expect(page.locator(".cue-text").first).to_have_text("The tide comes in twice a day.")
    assert queries_versions.get_version(again(video), again(video).transcript_id).number == 3


def test_a_damaged_caption_file_is_refused_line_by_line_in_the_dialog(page, tmp_path):
    wrong = tmp_path / "wrong.srt"
    wrong.write_text("1\n00:00:01,000 --> 00:00:02,000\nFine.\n\n2\nnonsense\nText\n")
    page.get_by_title("More").click()
    page.get_by_role("button", name="Import captions").click()
    dialog = page.get_by_role("dialog", name="Import captions")
    dialog.get_by_label("Caption file").set_input_files(wrong)
    dialog.get_by_role("button", name="Import").click()
    expect(dialog.locator("[data-import-lines] li")).to_contain_text("Line 6")
    expect(dialog.get_by_role("button", name="Import")).to_be_enabled()
    assert_accessible(page)
    page.context.complaints.clear()  # Chromium writes down the 422
    wrong.write_text("1\n00:00:01,000 --> 00:00:02,000\nNow it is fine.\n")
    dialog.get_by_label("Caption file").set_input_files(wrong)
    dialog.get_by_role("button", name="Import").click()
    expect(page.locator(".cue-text").first).to_have_text("Now it is fine.")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (360, "light")])
def test_the_open_cue_fits_and_is_accessible(open_page, alice, video, width, scheme):
    page = open_page(f"/videos/{video.id}", user=alice.user, width=width, scheme=scheme)
    edit(page)
    open_cue(page, "The moon pulls").fill("The moon pulls the water, and the sun pulls too.")
    expect(page.locator("[data-edit-bar]")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)


WORDS = [
    "plain words are split",
    "潮汐每天两次。",
    "mixed 漢字 and words」 here",
    "w" * 50,
    "naïve  café\u3000两次",
    "ก็ดี ไทย",
]


def test_the_script_and_the_server_cut_text_into_the_same_words(page):
    found = page.evaluate("texts => texts.map(text => transcriptEditor.split(text).map(([word]) => word))", WORDS)
    assert found == [split_words(text) for text in WORDS]


def test_six_thousand_cues_are_edited_without_a_pause(open_page, alice, video):
    give_transcript(again(video), "Every word of this long talk is here to be read. " * 6_000)
    page = open_page(f"/videos/{video.id}", user=alice.user)
    expect(page.locator(".cue").first).to_be_visible()
    assert page.locator(".cue").count() >= 6_000
    edit(page)
    took = page.evaluate("""() => {
      const begins = performance.now();
      document.querySelectorAll('.cue-text')[3000].click();
      const field = document.querySelector('[data-text]');
      field.value = 'Every word was changed.';
      field.dispatchEvent(new Event('input', {bubbles: true}));
      field.offsetHeight;
      return performance.now() - begins;
    }""")
    assert took < 500
    expect(page.locator("[data-edit-count]")).to_have_text("1 change")
