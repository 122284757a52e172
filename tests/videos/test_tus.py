"""tus 1.0 at /uploads/: every rule of the protocol that a client relies on, and who may see what."""

import base64
import fcntl
import hashlib
import io
import threading

import pytest
import sqlalchemy as sa

from app.adapters.storage import StorageFull
from app.db import db
from app.videos import queries, service_uploads
from app.videos.models import Upload, Video
from tests.videos.browsing import headers, post
from tests.videos.media_files import make_media

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"


def create(browser, length, name="talk.mp4", **more):
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    return browser.post(
        "/uploads/",
        headers=headers(browser, **{**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata, **more}),
    )


def patch(browser, url, data, offset=0, **more):
    return browser.patch(
        url, data=data, content_type=BYTES, headers=headers(browser, **{**TUS, "Upload-Offset": str(offset), **more})
    )


class Slow(io.BytesIO):
    """Two bytes on their way in; `meanwhile` is done whenever they are asked for."""

    def __init__(self, meanwhile):
        super().__init__(b"01")
        self.meanwhile = meanwhile

    def readinto(self, buffer):
        self.meanwhile()
        return super().readinto(buffer)


def stream(browser, url, source):
    return browser.patch(
        url,
        input_stream=source,
        content_length=2,
        content_type=BYTES,
        headers=headers(browser, **TUS, **{"Upload-Offset": "0"}),
    )


def offset(browser, url):
    return int(browser.head(url, headers=TUS).headers["Upload-Offset"])


@pytest.fixture
def url(alice):
    return create(alice, 10).location


@pytest.fixture
def with_settings(app, settings, monkeypatch):
    return lambda **changes: monkeypatch.setattr(app, "settings", settings.but(**changes))


def test_options_tell_what_is_spoken_to_anybody(client):
    answer = client.options("/uploads/")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "termination",
        "checksum",
        "expiration",
    }
    assert "sha1" in answer.headers["Tus-Checksum-Algorithm"]


def test_an_upload_is_created_and_described(alice):
    answer = create(alice, 10)
    assert answer.status_code == 201
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Upload-Expires"].endswith("GMT")
    shown = alice.head(answer.location, headers=TUS)
    assert shown.status_code == 200
    assert (shown.headers["Upload-Offset"], shown.headers["Upload-Length"]) == ("0", "10")
    assert shown.headers["Upload-Metadata"] == f"filename {base64.b64encode(b'talk.mp4').decode()}"
    assert shown.headers["Cache-Control"] == "no-store"


def test_the_address_without_a_slash_works_too(alice):
    assert alice.post("/uploads", headers=headers(alice, **TUS, **{"Upload-Length": "3"})).status_code == 201


def test_bytes_come_in_parts(alice, url):
    assert patch(alice, url, b"01234").headers["Upload-Offset"] == "5"
    assert patch(alice, url, b"56789", 5).headers["Upload-Offset"] == "10"
    upload = db.session.scalars(sa.select(Upload)).one()
    assert service_uploads.path_of(upload).read_bytes() == b"0123456789"


def test_the_first_bytes_may_come_with_the_creation(alice):
    answer = alice.post(
        "/uploads/", data=b"01234", content_type=BYTES, headers=headers(alice, **TUS, **{"Upload-Length": "10"})
    )
    assert answer.status_code == 201
    assert answer.headers["Upload-Offset"] == "5"


@pytest.mark.parametrize(
    ("data", "more", "status"),
    [
        (b"01234", {"Upload-Checksum": "sha1 AAAA"}, 460),
        (b"01234", {"Upload-Checksum": "crc32 AAAA"}, 400),
        (b"0123456789A", {}, 413),
    ],
)
def test_first_bytes_that_are_refused_leave_no_upload_whose_address_nobody_knows(alice, data, more, status):
    given = headers(alice, **TUS, **{"Upload-Length": "10"}, **more)
    assert alice.post("/uploads/", data=data, content_type=BYTES, headers=given).status_code == status
    assert db.session.scalars(sa.select(Upload)).all() == []


def test_a_wrong_offset_is_a_conflict_and_changes_nothing(alice, url):
    patch(alice, url, b"01234")
    for wrong in (0, 4, 6):
        assert patch(alice, url, b"x", wrong).status_code == 409
    assert offset(alice, url) == 5


def test_more_bytes_than_announced_are_refused(alice, url):
    assert patch(alice, url, b"0123456789A").status_code == 413
    assert offset(alice, url) == 0


def test_another_content_type_is_refused(alice, url):
    answer = alice.patch(
        url, data=b"x", content_type="text/plain", headers=headers(alice, **TUS, **{"Upload-Offset": "0"})
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_right_checksum_is_taken_and_a_wrong_one_throws_the_bytes_away(alice, url, algorithm):
    digest = base64.b64encode(hashlib.new(algorithm, b"01234").digest()).decode()
    assert patch(alice, url, b"01235", **{"Upload-Checksum": f"{algorithm} {digest}"}).status_code == 460
    assert offset(alice, url) == 0
    assert patch(alice, url, b"01234", **{"Upload-Checksum": f"{algorithm} {digest}"}).status_code == 204


@pytest.mark.parametrize("header", ["crc32 AAAA", "sha1", "sha1 %%%", ""])
def test_an_unusable_checksum_is_a_400(alice, url, header):
    assert patch(alice, url, b"01234", **{"Upload-Checksum": header}).status_code == 400


def test_while_one_connection_writes_another_is_told_to_wait(alice, url, monkeypatch):
    monkeypatch.setattr(service_uploads, "PATIENCE_SECONDS", 0.2)
    upload = db.session.scalars(sa.select(Upload)).one()
    with service_uploads.path_of(upload).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert patch(alice, url, b"01234").status_code == 423
        assert alice.delete(url, headers=headers(alice, **TUS)).status_code == 423
    assert patch(alice, url, b"01234").status_code == 204


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_a_connection_that_its_browser_has_just_left_gets_a_moment_to_end(alice, url, method):
    upload = db.session.scalars(sa.select(Upload)).one()
    with service_uploads.path_of(upload).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.3, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        answer = patch(alice, url, b"01") if method == "patch" else alice.delete(url, headers=headers(alice, **TUS))
    assert answer.status_code == 204


def test_an_upload_discarded_while_bytes_come_in_is_not_made_again(alice, url):
    path = service_uploads.path_of(db.session.scalars(sa.select(Upload)).one())

    def discard():
        with db.engine.begin() as connection:
            connection.execute(sa.delete(Upload))

    assert stream(alice, url, Slow(discard)).status_code == 204
    db.session.rollback()
    assert db.session.scalars(sa.select(Upload)).all() == []
    path.unlink()


def test_bytes_that_come_in_hold_no_database_connection(alice, url):
    db.session.remove()
    before, during = db.engine.pool.checkedout(), []
    stream(alice, url, Slow(lambda: during.append(db.engine.pool.checkedout())))
    assert during
    assert set(during) == {before}


def test_termination_forgets_everything(alice, url):
    upload = db.session.scalars(sa.select(Upload)).one()
    path = service_uploads.path_of(upload)
    assert alice.delete(url, headers=headers(alice, **TUS)).status_code == 204
    assert not path.exists()
    assert alice.head(url, headers=TUS).status_code == 404


def test_an_expired_upload_is_gone_and_its_bytes_are_removed_with_the_next(alice, url, execute):
    upload = db.session.scalars(sa.select(Upload)).one()
    path = service_uploads.path_of(upload)
    execute("UPDATE upload SET expires_at = now() - interval '1 second'")
    assert alice.head(url, headers=TUS).status_code == 404
    assert patch(alice, url, b"x").status_code == 404
    create(alice, 3)
    assert not path.exists()


def test_what_a_crash_left_in_storage_goes_with_the_expired_upload(alice, app, url, execute, tmp_path):
    store = app.extensions["throughline.storage"]
    upload = db.session.scalars(sa.select(Upload)).one()
    (tmp_path / "x").write_bytes(b"x")
    key = f"users/{alice.user.id}/videos/{upload.id}/source.mp4"
    store.put_path(key, tmp_path / "x")
    execute("UPDATE upload SET video_id = id, expires_at = now() - interval '1 second'")
    assert service_uploads.remove_expired() == 1
    assert not store.exists(key)


def test_every_byte_keeps_the_upload_alive_for_another_day(alice, url, execute):
    execute("UPDATE upload SET expires_at = now() + interval '1 minute'")
    patch(alice, url, b"0")
    left = db.session.scalar(sa.text("SELECT expires_at - now() FROM upload"))
    assert left.total_seconds() > 23 * 3600


@pytest.mark.parametrize("length", ["", "-1", "many", "1e3", "٣"])
def test_an_unusable_length_is_a_400(alice, length):
    given = headers(alice, **TUS)
    answer = alice.post("/uploads/", headers=[*given.items(), ("Upload-Length", length.encode().decode("latin-1"))])
    assert answer.status_code == 400


@pytest.mark.parametrize("length", [40 * 10**9, 10**15, 10**30])
def test_a_claimed_length_over_the_limit_is_a_413(alice, length):
    assert create(alice, length).status_code == 413
    assert db.session.scalars(sa.select(Upload)).all() == []


def test_a_full_disk_is_a_507(alice, monkeypatch):
    def full(*_):
        raise StorageFull

    monkeypatch.setattr(service_uploads, "require_room", full)
    assert create(alice, 10).status_code == 507


def test_a_full_quota_is_a_413_and_counts_what_is_under_way(alice, with_settings):
    with_settings(storage_quota_bytes=15)
    assert create(alice, 10).status_code == 201
    answer = create(alice, 10)
    assert answer.status_code == 413
    assert "storage is full" in answer.json["message"]


def test_only_so_many_uploads_at_once(alice, charlie, with_settings):
    with_settings(max_uploads_at_once=2)
    assert [create(alice, 3).status_code for _ in range(3)] == [201, 201, 429]
    assert create(charlie, 3).status_code == 201


def test_another_version_of_the_protocol_is_a_412(alice):
    answer = create(alice, 3, **{"Tus-Resumable": "0.2.2"})
    assert answer.status_code == 412
    assert answer.headers["Tus-Version"] == "1.0.0"


@pytest.mark.parametrize(
    "metadata", ["filename %%%", "filename dGFsaw==,filename dGFsaw==", "x" * 9000, "file\tname dGFsaw=="]
)
def test_malformed_metadata_is_refused(alice, metadata):
    answer = alice.post(
        "/uploads/", headers=headers(alice, **TUS, **{"Upload-Length": "3", "Upload-Metadata": metadata})
    )
    assert answer.status_code == 422


def test_old_proxies_are_helped_by_the_override_header(alice, url):
    given = headers(alice, **TUS, **{"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"})
    assert alice.post(url, data=b"01", content_type=BYTES, headers=given).status_code == 204
    given = headers(alice, **TUS, **{"X-HTTP-Method-Override": "DELETE"})
    assert alice.post(url, headers=given).status_code == 204


def test_strangers_and_administrators_find_nothing_and_nobody_gets_401(alice, charlie, root, client, url):
    for browser in (charlie, root):
        assert browser.head(url, headers=TUS).status_code == 404
        assert patch(browser, url, b"x").status_code == 404
        assert browser.delete(url, headers=headers(browser, **TUS)).status_code == 404
    assert client.head(url, headers=TUS).status_code == 401
    assert client.post("/uploads/", headers={**TUS, "Upload-Length": "3"}).status_code == 401
    assert client.patch(url, data=b"x", content_type=BYTES, headers={**TUS, "Upload-Offset": "0"}).status_code == 401
    assert offset(alice, url) == 0


@pytest.mark.parametrize("identity", ["x", "../../etc/passwd", "00000000-0000-0000-0000-000000000000", "a" * 500])
def test_unknown_uploads_are_404(alice, identity):
    assert alice.head(f"/uploads/{identity}", headers=TUS).status_code == 404


def test_bytes_without_the_form_token_are_refused(alice, url):
    answer = alice.patch(url, data=b"x", content_type=BYTES, headers={**TUS, "Upload-Offset": "0"})
    assert answer.status_code == 400


@pytest.fixture
def finished(alice, tmp_path):
    data = make_media(tmp_path / "talk.mp4").read_bytes()
    url = create(alice, len(data)).location
    patch(alice, url, data)
    return url


def test_a_finished_upload_becomes_a_video_once(alice, finished):
    first = post(alice, "/api/videos", json={"upload_id": finished.rpartition("/")[2], "title": "On tides"})
    assert first.status_code == 201
    assert first.json["title"] == "On tides"
    again = post(alice, "/api/videos", json={"upload_id": finished})
    assert again.json["id"] == first.json["id"]
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Video)) == 1
    assert queries.list_uploads(alice.user.id) == []


def test_an_upload_whose_video_was_deleted_says_so(alice, finished):
    made = post(alice, "/api/videos", json={"upload_id": finished}).json
    alice.delete(f"/api/videos/{made['id']}", headers=headers(alice))
    answer = post(alice, "/api/videos", json={"upload_id": finished})
    assert answer.status_code == 404
    assert "deleted" in answer.json["message"]


def test_captions_may_come_as_text(alice, finished):
    srt = "1\n00:00:00,000 --> 00:00:02,000\nHello\n"
    answer = post(alice, "/api/videos", json={"upload_id": finished, "captions": srt})
    assert alice.get(f"/videos/{answer.json['id']}/captions", buffered=True).text == srt


def test_an_unfinished_upload_becomes_nothing_yet(alice, url):
    assert post(alice, "/api/videos", json={"upload_id": url}).status_code == 409


def test_an_upload_that_is_no_media_is_thrown_away(alice, url):
    patch(alice, url, b"0123456789")
    assert post(alice, "/api/videos", json={"upload_id": url}).status_code == 422
    assert alice.head(url, headers=TUS).status_code == 404


def test_somebody_elses_upload_is_not_found(charlie, finished):
    assert post(charlie, "/api/videos", json={"upload_id": finished}).status_code == 404


def test_the_same_content_keeps_the_upload_until_told(alice, finished, tmp_path):
    first = post(alice, "/api/videos", json={"upload_id": finished})
    data = (tmp_path / "talk.mp4").read_bytes()
    url = create(alice, len(data)).location
    patch(alice, url, data)
    answer = post(alice, "/api/videos", json={"upload_id": url})
    assert answer.status_code == 409
    assert answer.json["video"]["id"] == first.json["id"]
    assert post(alice, "/api/videos?again=1", json={"upload_id": url}).status_code == 201


@pytest.mark.parametrize("body", [None, [], "x", {}, {"upload_id": 7}, {"upload_id": ""}])
def test_a_body_without_an_upload_is_refused(alice, body):
    assert post(alice, "/api/videos", json=body).status_code == 422


def test_an_upload_that_has_become_a_video_is_whole_and_takes_no_more_bytes(alice, tmp_path):
    data = make_media(tmp_path / "talk.mp4").read_bytes()
    url = create(alice, len(data)).location
    patch(alice, url, data)
    made = post(alice, "/api/videos", json={"upload_id": url})
    assert made.status_code == 201
    assert offset(alice, url) == len(data)
    assert patch(alice, url, data).status_code == 409
    assert not service_uploads.path_of(queries.get_upload_for(alice.user, url.rpartition("/")[2])).exists()
    assert post(alice, "/api/videos", json={"upload_id": url}).json["id"] == made.json["id"]
