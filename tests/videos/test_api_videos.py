"""The JSON endpoints of videos: the contract for programs, and that strangers see nothing."""

import io

import pytest

from app import engine
from app.accounts import service as accounts
from app.db import db
from app.videos import links, queries, service_uploads
from tests.videos.browsing import headers, post, post_video
from tests.videos.media_files import make_media


@pytest.fixture
def data(tmp_path):
    return make_media(tmp_path / "talk.mp4").read_bytes()


@pytest.fixture
def made(alice, data):
    return post_video(alice, data, title="On tides").json


def test_a_key_is_enough(alice, client, data):
    key = accounts.create_key(alice.user.email, "test")
    db.session.commit()
    bearer = {"Authorization": f"Bearer {key}"}
    answer = client.post("/api/videos", data={"file": (io.BytesIO(data), "talk.mp4")}, headers=bearer)
    assert answer.status_code == 201
    assert client.get(f"/api/videos/{answer.json['id']}", headers=bearer).json["status"] == "pending"


def test_a_key_needs_no_form_token_however_its_scheme_is_written(alice, client, data):
    key = accounts.create_key(alice.user.email, "test")
    db.session.commit()
    bearer = {"Authorization": f"bearer {key}"}
    answer = client.post("/api/videos", data={"file": (io.BytesIO(data), "talk.mp4")}, headers=bearer)
    assert answer.status_code == 201
    assert client.post("/uploads/", headers=bearer | {"Upload-Length": "5"}).status_code == 201


def test_a_second_finish_that_comes_as_the_first_ends_takes_nothing_from_it(alice, data, monkeypatch):
    upload = service_uploads.create(alice.user.id, len(data), "talk.mp4")
    service_uploads.path_of(upload).write_bytes(data)
    before = service_uploads.locked

    def late(upload, *patience):
        service_uploads.path_of(upload).unlink()  # as the first does, before it lets go and commits
        return before(upload, *patience)

    monkeypatch.setattr(service_uploads, "locked", late)
    assert post(alice, "/api/videos", json={"upload_id": str(upload.id)}).status_code == 409
    assert queries.get_upload_for(alice.user, upload.id).video_id is None


def test_one_video_is_described(alice, made):
    shown = alice.get(f"/api/videos/{made['id']}").json
    assert {"id", "title", "status", "progress", "duration_seconds", "language", "error"} <= set(shown)
    assert set(shown["progress"]) == {
        "current_step",
        "completed_steps",
        "total_steps",
        "percent",
        "eta_seconds",
        "message",
        "errors",
    }
    assert shown["error"] is None
    assert shown["duration_seconds"] == pytest.approx(4, abs=0.1)


def test_the_list_pages_from_newest_to_oldest(alice, charlie, data):
    ids = [post_video(alice, data, title=f"Talk {number}", query="?again=1").json["id"] for number in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = alice.get(f"/api/videos?limit=2&cursor={cursor}").json
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    assert charlie.get("/api/videos").json == {"items": [], "next_cursor": None}


def test_the_list_is_filtered(alice, data, execute):
    one = post_video(alice, data, title="100% tides_and").json["id"]
    two = post_video(alice, data, title="Bread", query="?again=1").json["id"]
    execute("UPDATE video SET status = 'completed' WHERE id = :id", id=two)

    def found(query):
        return [item["id"] for item in alice.get(f"/api/videos?{query}").json["items"]]

    assert found("q=TIDES") == [one]
    assert found("q=100%25") == [one]
    assert found("q=%25") == [one]
    assert found("q=_") == [one]
    assert found("status=completed") == [two]
    assert found("status=pending") == [one]
    assert found("q=nothing") == []
    alice.patch(f"/api/videos/{two}", json={"tags": ["baking"]}, headers=headers(alice))
    assert found("tag=baking") == [two]


@pytest.mark.parametrize(
    "query", ["status=odd", "cursor=%%%", "cursor=AAAA", "cursor=MjAyNnx4", "q=%00", "limit=-5", "limit=x"]
)
def test_hostile_filters_are_no_crash(alice, made, query):
    assert alice.get(f"/api/videos?{query}").status_code in (200, 422)
    assert alice.get(f"/videos?{query}").status_code in (200, 422)


def test_a_video_is_changed(alice, made):
    changes = {"title": " New\ttitle ", "description": "A\nb", "language": "de", "tags": ["a", "a", "b"]}
    shown = alice.patch(f"/api/videos/{made['id']}", json=changes, headers=headers(alice)).json
    assert (shown["title"], shown["description"], shown["language"]) == ("New title", "A\nb", "de")
    assert shown["tags"] == ["a", "b"]


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("👩\u200d🔬 \U0001fae8 \U0001fadf", "👩\u200d🔬 \U0001fae8 \U0001fadf"),  # joined, and newer than our Unicode
        ("क्\u200dष خب\u200cرم", "क्\u200dष خب\u200cرم"),  # in Hindi and Persian the joiners are spelling
        ("שלום \u202eמה\u2066 נשמע\u200f", "שלום מה נשמע"),
        ("a\u0000b\ufffe\ue000\U0010ffff\U000e0061", "ab"),
    ],
)
def test_titles_in_any_script_are_kept_and_nothing_turns_the_line_round(alice, made, title, kept):
    path = f"/api/videos/{made['id']}"
    assert alice.patch(path, json={"title": title, "description": title}, headers=headers(alice)).status_code == 200
    shown = alice.get(path).json
    assert (shown["title"], shown["description"]) == (kept, kept)


@pytest.mark.parametrize("title", ["\u202e", "\u0000", "\u200d\u200c", " \n"])
def test_a_title_of_which_nothing_can_be_seen_is_refused(alice, made, title):
    answer = alice.patch(f"/api/videos/{made['id']}", json={"title": title}, headers=headers(alice))
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "changes",
    [
        None,
        [],
        {"status": "completed"},
        {"owner_id": "x"},
        {"title": ""},
        {"title": 7},
        {"title": "x" * 301},
        {"language": "english please"},
        {"tags": "a"},
        {"tags": [1]},
        {"tags": [str(number) for number in range(30)]},
    ],
)
def test_changes_that_cannot_be_are_refused(alice, made, changes):
    assert alice.patch(f"/api/videos/{made['id']}", json=changes, headers=headers(alice)).status_code == 422
    assert queries.get_for(alice.user, made["id"]).title == "On tides"


def test_cancel_then_retry(alice, made):
    cancelled = post(alice, f"/api/videos/{made['id']}/cancel")
    assert cancelled.json["status"] == "cancelled"
    (run,) = engine.list_runs(subject=f"video:{made['id']}", workflow="transcribe-video")
    assert run.status == "cancelled"
    assert post(alice, f"/api/videos/{made['id']}/cancel").status_code == 409
    retried = post(alice, f"/api/videos/{made['id']}/retry")
    assert retried.json["status"] == "pending"
    runs = engine.list_runs(subject=f"video:{made['id']}", workflow="transcribe-video")
    assert [run.status for run in runs] == ["queued", "cancelled"]
    assert post(alice, f"/api/videos/{made['id']}/retry").status_code == 409


def test_without_a_transcript_there_is_nothing_to_reprocess(alice, made):
    assert post(alice, f"/api/videos/{made['id']}/reprocess").status_code == 409


def test_a_deleted_video_is_gone(alice, made):
    assert alice.delete(f"/api/videos/{made['id']}", headers=headers(alice)).status_code == 204
    assert alice.get(f"/api/videos/{made['id']}").status_code == 404
    assert alice.get("/api/videos").json["items"] == []
    assert alice.delete(f"/api/videos/{made['id']}", headers=headers(alice)).status_code == 404


def test_the_old_endpoint_takes_files_under_ones_own_prefix_only(alice, charlie, made):
    key = queries.get_for(alice.user, made["id"]).storage_key
    body = {"videoId": made["id"], "creatorId": str(alice.user.id), "storagePath": key}
    assert post(alice, "/api/video/upload", json=body).status_code == 201
    assert post(charlie, "/api/video/upload", json=body).status_code == 404
    assert post(charlie, "/api/video/upload", json={**body, "creatorId": str(charlie.user.id)}).status_code == 404
    for path in (
        "users/../users/x",
        "/etc/passwd",
        f"users/{alice.user.id}/../x",
        f"users/{alice.user.id}/videos/x/source.mp4",
        "",
    ):
        assert post(alice, "/api/video/upload", json={**body, "storagePath": path}).status_code == 404


def test_a_stored_file_that_is_no_video_yet_becomes_one(alice, app, data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    key = f"users/{alice.user.id}/incoming/talk.mp4"
    app.extensions["throughline.storage"].put_path(key, tmp_path / "x")
    answer = post(alice, "/api/video/upload", json={"videoId": "test-123", "storagePath": key, "language": "en"})
    assert answer.status_code == 201
    assert answer.json["title"] == "talk"


PATHS = ("", "/card", "/source", "/poster", "/captions")


def test_the_owner_alone_sees_pages_fragments_and_files(alice, charlie, root, client, made):
    for path in ("/card", "/source", "/poster"):
        assert alice.get(f"/videos/{made['id']}{path}", buffered=True).status_code == 200, path
    for path in PATHS:
        for browser in (charlie, root):
            assert browser.get(f"/videos/{made['id']}{path}").status_code == 404, path
        assert client.get(f"/videos/{made['id']}{path}").status_code in (302, 404), path
    for browser in (charlie, root):
        assert browser.get(f"/api/videos/{made['id']}").status_code == 404
        assert (
            browser.patch(f"/api/videos/{made['id']}", json={"title": "x"}, headers=headers(browser)).status_code == 404
        )
        assert browser.delete(f"/api/videos/{made['id']}", headers=headers(browser)).status_code == 404
        for verb in ("retry", "cancel", "reprocess", "restore"):
            assert post(browser, f"/api/videos/{made['id']}/{verb}").status_code == 404
        for verb in ("retry", "cancel", "delete", "restore"):
            assert post(browser, f"/videos/{made['id']}/{verb}").status_code == 404
        assert made["id"] not in browser.get("/videos").text
    assert client.get(f"/api/videos/{made['id']}").status_code == 401
    assert client.get("/api/videos").status_code == 401


def test_files_come_in_ranges_and_are_not_sent_twice(alice, made, data):
    url = f"/videos/{made['id']}/source"
    whole = alice.get(url, buffered=True)
    assert whole.data == data
    assert whole.content_type == "video/mp4"
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    part = alice.get(url, headers={"Range": "bytes=10-19"}, buffered=True)
    assert (part.status_code, part.data) == (206, data[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    assert alice.get(url, headers={"Range": f"bytes={len(data)}-"}).status_code == 416
    assert alice.get(url, headers={"If-None-Match": whole.headers["ETag"]}, buffered=True).status_code == 304
    stale = alice.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'}, buffered=True)
    assert stale.status_code == 200


def test_a_store_that_is_elsewhere_serves_ranges_as_well(alice, app, data, monkeypatch):
    from app.adapters.storage import MemoryStorage

    monkeypatch.setitem(app.extensions, "throughline.storage", MemoryStorage())
    url = f"/videos/{post_video(alice, data).json['id']}/source"
    whole = alice.get(url, buffered=True)
    assert whole.data == data
    part = alice.get(url, headers={"Range": "bytes=10-19"}, buffered=True)
    assert (part.status_code, part.data, part.headers["Content-Length"]) == (206, data[10:20], "10")
    assert alice.get(url, headers={"Range": f"bytes={len(data)}-"}).status_code == 416
    assert alice.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_a_signed_address_works_for_anybody_until_it_is_old(alice, app, client, made, data):
    video = queries.get_for(alice.user, made["id"])
    path = links.signed_url(video).removeprefix(app.settings.public_url)
    old = links.signed_url(video, seconds=-1).removeprefix(app.settings.public_url)
    assert client.get(path, buffered=True).data == data
    assert client.get(path[:-2] + "xx").status_code == 404
    assert client.get(old).status_code == 404
    assert client.get("/media/x").status_code == 404
    alice.delete(f"/api/videos/{made['id']}", headers=headers(alice))
    assert client.get(path).status_code == 404
