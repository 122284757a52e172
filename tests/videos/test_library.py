"""The library page: empty with samples, cards with their state, filters, and nothing that is not escaped."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.adapters.storage import LocalStorage, StorageFull
from app.db import db
from app.videos import queries, queries_library, routes_library, service
from app.videos.models import Video
from tests.videos.browsing import headers, post, post_video, token
from tests.videos.media_files import make_media
from tests.videos.talks import make_video


@pytest.fixture
def data(tmp_path):
    return make_media(tmp_path / "talk.mp4").read_bytes()


def test_an_empty_library_offers_samples_and_a_drop_zone(alice):
    page = alice.get("/videos").text
    assert "No videos yet" in page
    assert 'action="/videos/samples"' in page
    assert "data-drop" in page
    assert 'form="add-samples"' in page.split("data-drop")[1].split("</form>")[0]  # the zone itself is the empty state


def test_the_button_adds_three_talks_once(alice, charlie):
    assert post(alice, "/videos/samples").status_code == 303
    titles = set(db.session.scalars(sa.select(Video.title)))
    assert len(titles) == 3
    assert db.session.scalar(sa.select(sa.func.count()).where(Video.captions_key.is_not(None))) == 1
    post(alice, "/videos/samples")
    assert len(queries_library.list_library(alice.user.id, queries_library.LibraryFilter()).items) == 3
    assert "No videos yet" in charlie.get("/videos").text


def test_a_double_click_adds_them_once(app, alice):
    token(alice)

    def click():
        with app.app_context():
            browser = app.test_client()
            browser._cookies = dict(alice._cookies)
            return browser.post("/videos/samples", headers={"X-CSRFToken": alice.form_token}).status_code

    with ThreadPoolExecutor(2) as pool:
        assert [each.result() for each in [pool.submit(click) for _ in range(2)]] == [303, 303]
    assert len(queries_library.list_library(alice.user.id, queries_library.LibraryFilter()).items) == 3


def test_whoever_waits_for_another_click_holds_no_connection(app, alice, monkeypatch):
    from app.videos import service_uploads

    seen = []
    lock = service_uploads.locked_file

    def look(*args):
        seen.append(db.session().in_transaction())
        return lock(*args)

    monkeypatch.setattr(service_uploads, "locked_file", look)
    post(alice, "/videos/samples")
    assert seen[0] is False


def test_samples_that_cannot_be_stored_leave_no_upload_under_way(alice, monkeypatch):
    def full(*_args, **_kwargs):
        raise StorageFull

    monkeypatch.setattr(LocalStorage, "put_path", full)
    assert post(alice, "/videos/samples").status_code == 507
    assert queries.list_uploads(alice.user.id) == []


def test_a_card_shows_progress_then_failure_with_what_to_do(alice, data, execute):
    made = post_video(alice, data, title="<b>On tides</b>").json
    card = alice.get(f"/videos/{made['id']}/card").text
    assert "&lt;b&gt;On tides" in card
    assert "Waiting to start" in card
    assert "<progress" not in card  # nothing moves yet
    execute("UPDATE video SET status = 'transcribing'")
    assert "<progress" in alice.get(f"/videos/{made['id']}/card").text
    assert "/cancel" in card
    execute("UPDATE video SET status = 'failed', error_message = 'Send another file.'")
    card = alice.get(f"/videos/{made['id']}/card").text
    assert "Send another file." in card
    assert "/retry" in card
    assert "<progress" not in card


def test_a_card_pushed_over_the_socket_holds_nothing_personal(alice, app, data):
    made = post_video(alice, data).json
    with app.test_request_context():
        card = routes_library.render_card(queries.get_for(alice.user, made["id"]).id)
    assert "csrf" not in card
    assert alice.user.email not in card


def test_cards_are_watched_by_their_owner_alone(alice, charlie, root, data):
    made = post_video(alice, data).json
    video = queries.get_for(alice.user, made["id"])
    assert routes_library.may_watch(alice.user, video.id)
    for stranger in (charlie.user, root.user):
        with pytest.raises(Exception, match="nothing here"):
            routes_library.may_watch(stranger, video.id)


def test_the_list_is_watched_by_its_owner_alone_and_changes_with_what_comes_and_goes(alice, charlie, root, tmp_path):
    assert routes_library.may_watch_list(alice.user, alice.user.id)
    for stranger in (charlie.user, root.user):
        assert not routes_library.may_watch_list(stranger, alice.user.id)
    seen = [queries.library_version(alice.user.id)]
    video = make_video(alice.user, tmp_path, sample="")
    seen.append(queries.library_version(alice.user.id))
    make_video(charlie.user, tmp_path, sample="")
    assert queries.library_version(alice.user.id) == seen[-1]
    make_video(alice.user, tmp_path, sample="")
    seen.append(queries.library_version(alice.user.id))
    service.delete(video)
    seen.append(queries.library_version(alice.user.id))
    assert len(set(seen)) == 4


def test_a_filter_that_finds_nothing_says_so(alice, data):
    post_video(alice, data)
    assert "Nothing found" in alice.get("/videos?q=zebra").text


def test_nobody_is_sent_to_the_sign_in_page(client):
    for path in ("/videos", "/upload"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer.location.startswith("/sign-in")


def test_unfinished_uploads_are_listed_and_can_be_discarded(alice, charlie):
    answer = alice.post("/uploads/", headers=headers(alice, **{"Upload-Length": "5"}))
    upload_id = answer.location.rpartition("/")[2]
    assert "Not finished" in alice.get("/upload").text
    assert post(charlie, f"/upload/{upload_id}/discard").status_code == 404
    assert post(alice, f"/upload/{upload_id}/finish").status_code == 409
    assert post(alice, f"/upload/{upload_id}/discard").status_code == 303
    assert "Not finished" not in alice.get("/upload").text
