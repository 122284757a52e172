"""The page of a video, its fragments and search: what they show and to whom."""

from __future__ import annotations

import re

import pytest
from werkzeug.http import parse_options_header

from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.videos import pages
from tests.videos.talks import give_transcript, make_video

TEXT = "we put <b>every</b> server & client on a ring so that a key finds its place"


@pytest.fixture(autouse=True)
def models(app):
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    yield
    llm.install(app)


@pytest.fixture
def video(alice, tmp_path):
    made = make_video(alice.user, tmp_path, sample="", title="A <script>alert(1)</script> talk")
    give_transcript(made, TEXT, model="yes")
    return made


def test_every_way_to_download_leads_to_the_file(alice, video):
    page = alice.get(f"/videos/{video.id}").text
    links = [tag for tag in re.findall(r"<a [^>]*>", page) if " download=" in tag]
    assert [tag for tag in links if f'href="/videos/{video.id}/source"' in tag]
    assert all(re.search(r'href="/[^"]+"', tag) for tag in links), links


@pytest.mark.parametrize("name", ["My talk.mp4", "Доклад «один».mp4"])
def test_a_downloaded_file_has_the_name_that_its_owner_gave_it(alice, video, name):
    """Browsers take the server's word for a name before that of the link."""
    video.original_filename = name
    db.session.commit()
    with alice.get(f"/videos/{video.id}/source") as answer:
        found = parse_options_header(answer.headers["Content-Disposition"])
    assert (found[0], found[1]["filename"]) == ("inline", name)


PATHS = (
    "/videos/{id}",
    "/videos/{id}/transcript",
    "/search?q=ring&video={id}",
    "/api/videos/{id}/transcript.json",
    "/api/videos/{id}/transcript.txt",
    "/api/videos/{id}/transcript.srt",
    "/api/videos/{id}/transcript.vtt",
    "/api/videos/{id}/transcript.md",
    "/api/videos/{id}/chunks",
    "/api/search?q=ring&video={id}",
)


@pytest.mark.parametrize("path", PATHS)
def test_the_owner_sees_it_and_strangers_and_administrators_get_404(path, alice, charlie, root, client, video):  # noqa: PLR0917
    path = path.format(id=video.id)
    assert alice.get(path).status_code == 200
    assert charlie.get(path).status_code == 404
    assert root.get(path).status_code == 404
    nobody = client.get(path)
    assert nobody.status_code == (401 if path.startswith("/api/") else 302)


def test_the_live_view_is_the_owners_alone(alice, charlie, root, video):
    assert pages.may_watch(alice.user, video.id)
    assert not pages.may_watch(charlie.user, video.id)
    assert not pages.may_watch(root.user, video.id)


def test_strangers_find_nothing_in_their_own_search(charlie, video):
    assert b"Nothing to search yet" in charlie.get("/search?q=ring").data
    assert charlie.get("/api/search?q=ring").json == {"results": []}


def test_what_people_and_models_wrote_is_escaped(alice, video):
    page = alice.get(f"/videos/{video.id}?q=%3Cscript%3E").get_data(as_text=True)
    assert "<script>alert(1)" not in page
    assert "<b>every</b>" not in page
    assert "&lt;b&gt;every&lt;/b&gt;" in page


def test_every_cue_says_when_its_words_begin(alice, video):
    page = alice.get(f"/videos/{video.id}/transcript").get_data(as_text=True)
    assert 'data-s="0.0"' in page
    assert 'data-w="0,0 3,40 7,80' in page


def test_offsets_count_like_browsers_do(alice, tmp_path):
    made = make_video(alice.user, tmp_path, sample="")
    give_transcript(made, "a 😀 b")
    line = pages.cue_lines(made.transcript_id)[0]
    assert [pair.split(",")[0] for pair in line.words.split()] == ["0", "2", "5"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("failed", "could not be finished"),
        ("cancelled", "cancelled"),
        ("embedding", "Indexing"),
        ("pending", "Waiting"),
    ],
)
def test_every_state_says_what_it_is(alice, video, status, words):
    video.status = status
    video.error_message = "The key was refused. Ask an administrator."
    db.session.commit()
    assert words in alice.get(f"/videos/{video.id}").get_data(as_text=True)


def test_a_video_without_a_transcript_has_a_page(alice, tmp_path):
    made = make_video(alice.user, tmp_path, sample="")
    page = alice.get(f"/videos/{made.id}")
    assert page.status_code == 200
    assert b"No transcript yet" in page.data
    assert alice.get(f"/api/videos/{made.id}/transcript.vtt").status_code == 404


def test_the_live_fragment_has_one_root_with_an_id(app, video):
    from app.live import rendering

    with app.test_request_context():
        html = pages.render_live(video.id)
    assert rendering.wrap(html) is not None


def test_a_long_transcript_stays_fast(alice, tmp_path):
    import time

    made = make_video(alice.user, tmp_path, sample="")
    give_transcript(made, "every word of this long talk is here to be read. " * 2_000)
    begins = time.perf_counter()
    answer = alice.get(f"/videos/{made.id}")
    assert time.perf_counter() - begins < 3
    assert answer.get_data(as_text=True).count('class="cue"') >= 2000
    assert len(answer.data) < 1_500_000


def test_search_marks_the_words_and_links_to_the_moment(alice, video):
    page = alice.get("/search?q=server").get_data(as_text=True)
    assert "<mark>server</mark>" in page
    assert f"/videos/{video.id}?t=" in page


def test_the_hits_alone_answer_htmx(alice, video):
    page = alice.get("/search?q=server", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert "<html" not in page
    assert "<mark>server</mark>" in page


def test_nothing_found_and_nothing_asked_have_their_own_words(alice, video):
    assert b"Nothing found" in alice.get("/search?q=volcano").data
    assert b"What are you looking for" in alice.get("/search").data
