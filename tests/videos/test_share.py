"""Share links: who sees what through them, and that they end when they are to end."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from app.accounts import service as accounts
from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.adapters.storage import storage
from app.db import db
from app.lib.ids import new_id
from app.videos import service, share_links
from app.videos.models import Outline, Segment, Share, Video
from tests.accounts.pages import press
from tests.accounts.test_limits import make  # noqa: F401  (an app whose limits are on)
from tests.test_looks import assert_well_formed
from tests.videos.talks import again, give_transcript, make_video

TEXT = "we put every server and client on a ring so that a key finds its place"


@pytest.fixture(autouse=True)
def models(app):
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    yield
    llm.install(app)


@pytest.fixture
def client(app):
    """A browser of nobody that reads every answer to its end."""
    browser = app.test_client()
    browser.get = partial(browser.get, buffered=True)
    return browser


@pytest.fixture
def video(alice, tmp_path):
    made = make_video(alice.user, tmp_path, title="Rings & <keys>", description="Only for me", tags=["secret-tag"])
    give_transcript(made, TEXT)
    return made


def open_link(browser, video, **fields) -> str:
    """Press the button of the video's page; return the path of the link that it then shows."""
    answer = press(browser, f"/videos/{video.id}", f"/videos/{video.id}/share", **fields)
    assert answer.status_code == 303
    page = browser.get(answer.headers["Location"]).text
    assert re.search(r'<dialog class="dialog" id="share-video"[^>]* open', page)
    address = re.search(r'id="share-url" type="url" value="([^"]+)"', page)[1]
    assert address.startswith("http://127.0.0.1:5000/s/")
    return urlsplit(address).path


def files_of(page) -> list[str]:
    return [path.partition("#")[0] for path in re.findall(r'(?:src|poster)="(/s/files/[^"]+)"', page.text)]


def visits(video) -> int:
    db.session.rollback()
    return db.session.scalar(sa.select(Share.visits).where(Share.video_id == video.id, Share.revoked_at.is_(None)))


def test_whoever_has_the_link_sees_the_talk_and_nothing_of_its_owner(alice, client, video):
    path = open_link(alice, video)
    page = client.get(path)
    assert page.status_code == 200
    assert_well_formed(page.text)
    assert "we put every server" in page.text
    assert "Rings &amp; &lt;keys&gt;" in page.text
    assert '<meta property="og:title" content="Rings &amp; &lt;keys&gt;">' in page.text
    for word in ("alice", "Alice", "Only for me", "secret-tag", "tides.mp4", str(video.owner_id), str(video.id)):
        assert word not in page.text, word
    assert len(files_of(page)) == 2


def test_a_visitor_is_offered_no_verb_and_given_no_cookie_and_no_socket(alice, client, video):
    page = client.get(open_link(alice, video))
    for word in ('method="post"', "csrf", "hx-", "/live", 'href="/videos', "/media", "/api/", "<dialog", "download="):
        assert word not in page.text, word
    assert "Set-Cookie" not in page.headers


def test_the_page_is_kept_out_of_caches_indexes_and_other_sites_logs(alice, client, video):
    path = open_link(alice, video)
    page = client.get(path)
    file = client.get(files_of(page)[0])
    for answer in (page, file, client.get("/s/made-up"), client.get("/s/files/made-up")):
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "private" in answer.headers["Cache-Control"]
    assert page.headers["Cache-Control"] == "private, no-store"
    assert '<meta name="robots" content="noindex, nofollow">' in page.text


def test_the_film_plays_in_parts_and_says_no_file_name(alice, client, video):
    film, captions = files_of(client.get(open_link(alice, video)))
    part = client.get(film, headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.data), part.mimetype) == (206, 100, "video/mp4")
    assert "Content-Disposition" not in part.headers
    assert "sandbox" in part.headers["Content-Security-Policy"]
    text = client.get(captions)
    assert text.text.startswith("WEBVTT")
    assert "we put every server" in text.text
    assert client.get(film.replace("/s/files/", "/media/")).status_code == 404


def test_the_copy_for_browsers_is_played_where_there_is_one(alice, client, video, tmp_path):
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(b"a copy")
    storage().put_path(f"users/{video.owner_id}/videos/{video.id}/rendition.mp4", copy)
    video.rendition_key, video.rendition_type = f"users/{video.owner_id}/videos/{video.id}/rendition.mp4", "video/mp4"
    video.rendition_status, video.media_type = "ready", "video/x-msvideo"
    db.session.commit()
    film = files_of(client.get(open_link(alice, video)))[0]
    assert client.get(film).data == b"a copy"
    video.rendition_status = "making"
    db.session.commit()
    assert "This browser cannot play it" in client.get(open_link(alice, video)).text


def test_speakers_and_chapters_are_shown(alice, client, video):
    db.session.execute(sa.update(Segment).values(speaker="Dr. <Ring>"))
    chapters = [{"segment": 0, "start_seconds": 0.0, "title": "Why <rings>"}]
    db.session.add(
        Outline(
            video_id=video.id,
            transcript_id=video.transcript_id,
            summary="All about rings.",
            chapters=chapters,
            model="m",
            run_id=new_id(),
        )
    )
    db.session.commit()
    page = client.get(open_link(alice, video)).text
    assert page.count("Dr. &lt;Ring&gt;") == 1
    assert "All about rings." in page
    assert "Why &lt;rings&gt;" in page


def test_a_link_can_be_opened_before_the_transcript_is_ready(alice, client, tmp_path):
    video = make_video(alice.user, tmp_path)
    page = client.get(open_link(alice, video))
    assert page.status_code == 200
    assert "No transcript yet" in page.text
    assert client.get(f"/s/files/{share_links.file_token(_share_of(video), 'transcript')}").status_code == 404


def _share_of(video):
    return db.session.scalar(sa.select(Share.id).where(Share.video_id == video.id, Share.revoked_at.is_(None)))


def test_ending_the_link_ends_the_page_and_the_files_at_once(alice, client, video):
    path = open_link(alice, video)
    files = files_of(client.get(path))
    assert press(alice, f"/videos/{video.id}", f"/videos/{video.id}/unshare").status_code == 303
    assert [client.get(each).status_code for each in (path, *files)] == [404] * 3
    assert "Create the link" in alice.get(f"/videos/{video.id}").text


def test_a_new_link_ends_the_old_one(alice, client, video):
    old = open_link(alice, video)
    files = files_of(client.get(old))
    new = open_link(alice, video, anew="1")
    assert new != old
    assert client.get(new).status_code == 200
    assert [client.get(each).status_code for each in (old, *files)] == [404] * 3


def test_asking_twice_gives_the_same_link(alice, video):
    assert open_link(alice, video) == open_link(alice, video)


def test_a_deleted_video_is_not_shown_and_one_taken_back_is_again(alice, client, video):
    path = open_link(alice, video)
    files = files_of(client.get(path))
    service.delete(again(video))
    db.session.commit()
    assert [client.get(each).status_code for each in (path, *files)] == [404] * 3
    service.restore(again(video))
    db.session.commit()
    assert [client.get(each).status_code for each in (path, *files)] == [200] * 3


def test_the_links_of_a_closed_account_lead_nowhere(alice, client, video):
    path = open_link(alice, video)
    files = files_of(client.get(path))
    alice.user.is_disabled = True
    db.session.commit()
    assert [client.get(each).status_code for each in (path, *files)] == [404] * 3


def test_every_dead_link_is_the_same_page(alice, client, video, tmp_path):
    ended, deleted = open_link(alice, video), make_video(alice.user, tmp_path)
    gone = open_link(alice, deleted)
    service.revoke(again(video))
    service.delete(again(deleted))
    db.session.commit()
    unknown = f"/s/{share_links.page_token(new_id())}"
    answers = [client.get(path) for path in (ended, gone, unknown, "/s/forged", "/s/%00", "/s/" + "x" * 3000)]
    assert {answer.status_code for answer in answers} == {404}
    pages = {re.sub(r"csrf_token\W.*|X-CSRFToken.*", "", answer.text) for answer in answers}
    assert len(pages) == 1
    assert "Ask whoever sent it to you" in answers[0].text


def test_a_signature_holds_for_what_it_was_made_for(alice, client, video):
    path = open_link(alice, video)
    film = files_of(client.get(path))[0]
    token = path.rpartition("/")[2]
    for forged in (
        *(f"/s/{each}" for each in (token[:-1], token + "x", token.swapcase(), film.rpartition("/")[2])),
        *(f"/s/files/{each}" for each in (token, film.rpartition("/")[2][:-2])),
    ):
        assert client.get(forged).status_code == 404, forged
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        other = token[:-1] + last
        assert client.get(f"/s/{other}").status_code == (200 if other == token else 404)


def test_the_address_of_a_file_grows_old_before_the_link_does(alice, client, video, monkeypatch):
    path = open_link(alice, video)
    film = files_of(client.get(path))[0]
    later = share_links.time.time() + share_links.FILE_LIVES_SECONDS + 7200
    monkeypatch.setattr(share_links.time, "time", lambda: later)
    assert client.get(film).status_code == 404
    assert client.get(files_of(client.get(path))[0]).status_code == 200


def test_visits_are_counted_but_not_the_owner_s_and_not_what_looks_ahead(alice, charlie, client, video):
    path = open_link(alice, video)
    alice.get(path)
    client.head(path)
    client.get(path, headers={"Sec-Purpose": "prefetch;prerender"})
    assert visits(video) == 0
    assert "not opened yet" in alice.get(f"/videos/{video.id}").text
    client.get(path)
    charlie.get(path)
    assert visits(video) == 2
    assert "opened 2 times, last " in alice.get(f"/videos/{video.id}").text


def test_strangers_can_neither_open_nor_end_a_link(alice, charlie, root, client, video):
    path = open_link(alice, video)
    for other in (charlie, root):
        for verb in ("share", "unshare"):
            assert press(other, "/account", f"/videos/{video.id}/{verb}", anew="1").status_code == 404
        assert other.get(path).status_code == 200
    assert client.get(path).status_code == 200


def test_a_program_opens_and_ends_a_link(alice, client, video):
    key = {"Authorization": f"Bearer {accounts.create_key(alice.user.email, 'k')}"}
    db.session.commit()
    address = f"/api/videos/{video.id}/share"
    made = client.post(address, headers=key)
    assert made.status_code == 201
    assert set(made.json) == {"url", "created_at", "visits", "last_visit_at"}
    same = client.post(address, headers=key)
    assert (same.status_code, same.json["url"]) == (200, made.json["url"])
    other = client.post(f"{address}?anew=1", headers=key)
    assert other.status_code == 201
    path = urlsplit(other.json["url"]).path
    assert client.get(path).status_code == 200
    assert client.get(urlsplit(made.json["url"]).path).status_code == 404
    assert [client.delete(address, headers=key).status_code for _ in range(2)] == [204, 204]
    assert client.get(path).status_code == 404


def test_two_requests_at_once_open_one_link(app, alice, video):
    video_id = video.id

    def open_one(number):
        with app.app_context():
            service.share(db.session.get(Video, video_id), anew=number % 2 == 0)
            db.session.commit()

    db.session.rollback()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_one, range(12)))
    count = sa.select(sa.func.count()).where(Share.video_id == video_id, Share.revoked_at.is_(None))
    assert db.session.scalar(count) == 1


def test_whoever_tries_one_address_after_another_is_told_to_wait(make):  # noqa: F811
    browser = make().test_client()
    answers = [browser.get(f"/s/made-up-{number}") for number in range(121)]
    assert {answer.status_code for answer in answers[:120]} == {404}
    assert answers[-1].status_code == 429
    assert answers[-1].headers["Retry-After"]
