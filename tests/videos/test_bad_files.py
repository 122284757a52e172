"""Every bad file through every door: it gets its sentence, and leaves no row, no file and no run behind."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import engine
from app.adapters.storage import StorageFull, storage
from app.db import db
from app.videos import queries, service_uploads
from app.videos.models import Upload, Video
from tests.videos.bad_files import BAD, media
from tests.videos.browsing import headers, post, token

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"
CLAIMED = 40_000_000_000
TOO_LARGE = "This file has 40.0 GB; at most 2.1 GB are allowed."
FULL = "There is no room left to store this file."
DEV_FULL = Path("/dev/full")  # the kernel says of every write to it that the disk is full


@dataclass(frozen=True)
class Said:
    """A refusal: its status, and the sentence that the person reads."""

    status: int
    sentence: str


def by_form(browser, data, name="talk.mp4"):
    answer = post_form(browser, "/upload", data, name)
    return Said(answer.status_code, _on_page(answer.text))


def by_api(browser, data, name="talk.mp4"):
    answer = post_form(browser, "/api/videos", data, name)
    return Said(answer.status_code, answer.json.get("message", ""))


def by_tus(browser, data, name="talk.mp4"):
    url = create(browser, len(data), name).location
    if data:
        assert patch(browser, url, data).status_code == 204
    answer = post(browser, "/api/videos", json={"upload_id": url})
    return Said(answer.status_code, answer.json.get("message", ""))


DOORS = {"the form": by_form, "the API": by_api, "tus": by_tus}


def post_form(browser, path, data, name):
    """POST one file, its name written as browsers do (HTML, multipart/form-data)."""
    for character in '"\r\n':
        name = name.replace(character, f"%{ord(character):02X}")
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + b"\r\n--x--\r\n"
    return post(browser, path, data=body, content_type="multipart/form-data; boundary=x")


def create(browser, length, name="talk.mp4", data=b"", **more):
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    given = headers(browser, **{**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata, **more})
    return browser.post("/uploads/", data=data, content_type=BYTES if data else None, headers=given)


def patch(browser, url, data, **more):
    given = headers(browser, **{**TUS, "Upload-Offset": "0", **more})
    return browser.patch(url, data=data, content_type=BYTES, headers=given)


def _on_page(page: str) -> str:
    notices = re.findall(r'class="notice[^"]*".*?</(?:div|section|aside)>', page, re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", " ".join(notices) or page)))


@cache
def bad(name: str) -> bytes:
    return BAD[name][0]()


@cache
def good() -> bytes:
    return media("talk.mp4")


@pytest.fixture
def nothing_is_left(app, alice, tmp_path, monkeypatch):
    """Tell that rows, files and runs are as they were before: also temporary files, wherever they would be."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    token(alice)
    before = files(app.settings.data_dir)

    def look():
        db.session.rollback()
        rows = [db.session.scalar(sa.select(sa.func.count()).select_from(table)) for table in (Video, Upload)]
        events = db.session.scalar(sa.text("SELECT count(*) FROM event"))
        left = files(app.settings.data_dir) - before
        assert (rows, events, engine.list_runs(), left, files(temporary)) == ([0, 0], 0, [], set(), set())
        assert queries.stored_bytes(alice.user.id) == 0

    return look


def files(folder: Path) -> set[str]:
    """Everything in the folder but empty folders."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_its_sentence_and_leaves_nothing(alice, nothing_is_left, name, door):
    said = DOORS[door](alice, bad(name))
    assert said.status == 422
    assert BAD[name][1] in said.sentence
    nothing_is_left()


def test_an_upload_that_claims_40_gb_is_refused_before_a_byte_is_sent(alice, nothing_is_left):
    answer = create(alice, CLAIMED)
    assert (answer.status_code, answer.json["error"]) == (413, "too_large")
    assert TOO_LARGE in answer.json["message"]
    nothing_is_left()


class Unread(io.BytesIO):
    """A body of which nobody may read a byte."""

    def readinto(self, buffer):
        raise AssertionError("a body of 40 GB was read")


@pytest.mark.parametrize("path", ["/upload", "/api/videos"])
def test_a_form_that_claims_40_gb_is_refused_before_a_byte_is_read(alice, nothing_is_left, path):
    answer = alice.post(
        path,
        input_stream=Unread(),
        content_type="multipart/form-data; boundary=x",
        headers=headers(alice),
        environ_overrides={"CONTENT_LENGTH": str(CLAIMED + 6_300_000)},
    )
    assert answer.status_code == 413
    assert TOO_LARGE in html.unescape(answer.text)
    nothing_is_left()


NAMES = {  # what it is: (the name, a pattern of what is shown of it)
    "climbing": ("../../../../etc/passwd.mp4", r"passwd\.mp4"),
    "climbing, as Windows does": ("..\\..\\windows\\talk.mp4", r"(windows)?talk\.mp4"),
    "absolute": ("/etc/cron.d/talk.mp4", r"talk\.mp4"),
    "with a NUL": ("talk.mp4\0.exe", r"talk\.mp4\.exe"),
    "with a line's end": ("talk\r\nX-Evil: 1.mp4", r"talk(%0D%0A| )X-Evil: 1\.mp4"),
    "written from right to left": ("talk\u202e4pm.exe", r"talk4pm\.exe"),
    "very long": ("a" * 5000 + ".mp4", r"a{200}"),
    "only dots": ("..", r".+"),
    "nothing": ("", r".+"),
    "not of one alphabet": ("Größe 講演.mp4", r"Größe 講演\.mp4"),
    "markup": ("<img src=x onerror=alert(1)>.mp4", r"<img src=x onerror=alert\(1\)>\.mp4"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_shown_and_leads_to_no_other_place(app, alice, nothing_is_left, name, door):
    given, shown = NAMES[name]
    before = files(app.settings.data_dir)
    if name == "nothing" and door != "tus":
        given = " "  # a form's part without a name is no file
    assert DOORS[door](alice, good(), given).status in (201, 303)
    video = db.session.scalars(sa.select(Video)).one()
    assert re.fullmatch(shown, video.original_filename)
    assert video.title
    assert not re.search(r"[\0\r\n/\\\u202e]", video.original_filename + video.title)
    home = f"files/users/{alice.user.id}/videos/{video.id}"
    assert files(app.settings.data_dir) - before == {f"{home}/source.mp4", f"{home}/poster.jpg"}
    assert "<img src=x" not in alice.get("/videos").text
    storage().delete_prefix(f"users/{alice.user.id}")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_with_such_a_name_leaves_nothing(alice, nothing_is_left, name, door):
    given = " " if name == "nothing" and door != "tus" else NAMES[name][0]
    said = DOORS[door](alice, bad("text named .mp4"), given)
    assert said.status == 422
    assert "This is not a video or sound file" in said.sentence
    nothing_is_left()


def test_a_wrong_checksum_is_said_and_no_byte_is_kept(alice, nothing_is_left):
    wrong = {"Upload-Checksum": f"sha256 {base64.b64encode(hashlib.sha256(b'other').digest()).decode()}"}
    url = create(alice, len(good())).location
    answer = patch(alice, url, good(), **wrong)
    assert (answer.status_code, answer.json["error"]) == (460, "wrong_checksum")
    assert answer.json["message"] == "The bytes do not match their checksum. Send this part again."
    assert alice.head(url, headers=TUS).headers["Upload-Offset"] == "0"
    assert alice.delete(url, headers=headers(alice, **TUS)).status_code == 204
    assert create(alice, len(good()), data=good(), **wrong).status_code == 460
    nothing_is_left()


TEN = {"CONTENT_LENGTH": "10"}


class Broken(io.BytesIO):
    """Some bytes, and then a line that was reset."""

    def readinto(self, buffer):
        if self.tell() == len(self.getvalue()):
            raise ConnectionResetError
        return super().readinto(buffer)


def test_a_part_with_a_checksum_that_breaks_off_keeps_no_byte(alice):
    url = create(alice, 10).location
    digest = base64.b64encode(hashlib.sha256(b"0123456789").digest()).decode()
    given = headers(alice, **TUS, **{"Upload-Offset": "0", "Upload-Checksum": f"sha256 {digest}"})
    answer = alice.patch(url, input_stream=Broken(b"01234"), environ_overrides=TEN, content_type=BYTES, headers=given)
    assert answer.status_code == 460
    assert alice.head(url, headers=TUS).headers["Upload-Offset"] == "0"


def test_first_bytes_that_break_off_leave_no_upload_whose_address_nobody_knows(alice, nothing_is_left):
    for _ in range(7):  # more than may be under way at once
        given = headers(alice, **TUS, **{"Upload-Length": "10"})
        alice.post("/uploads/", input_stream=Broken(b"01234"), environ_overrides=TEN, content_type=BYTES, headers=given)
    nothing_is_left()


def at_once(app, doors):
    """Do all at the same moment, each in a thread of its own."""
    begin, answers = threading.Barrier(len(doors)), {}

    def do(number, door):
        with app.app_context():
            begin.wait()
            answers[number] = door()

    threads = [threading.Thread(target=do, args=each) for each in enumerate(doors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(doors))]


def another_tab(app, browser):
    """A browser that is signed in as the same person."""
    tab = app.test_client()
    tab.user, tab.form_token = browser.user, token(browser)
    name = app.config["SESSION_COOKIE_NAME"]
    tab.set_cookie(name, browser.get_cookie(name).value)
    return tab


@pytest.mark.parametrize("doors", [("the API", "the API"), ("tus", "tus"), ("the form", "tus")])
def test_the_same_file_from_two_tabs_at_the_same_moment_becomes_one_video(app, alice, doors):
    tabs = [another_tab(app, alice) for _ in doors]
    db.session.commit()
    said = at_once(
        app, [lambda tab=tab, door=door: DOORS[door](tab, good()) for tab, door in zip(tabs, doors, strict=True)]
    )
    db.session.rollback()
    assert [each.status // 100 for each in sorted(said, key=lambda each: each.status)] in ([2, 4], [3, 4]), said
    (refused,) = [each for each in said if each.status == 409]
    assert re.search("You have this file already|You have a video with exactly this content", refused.sentence)
    assert len(db.session.scalars(sa.select(Video)).all()) == 1
    assert db.session.scalar(sa.text("SELECT count(*) FROM event WHERE name = 'video/uploaded'")) == 1
    assert list(service_uploads.folder().glob("content-*")) == []


def test_two_tabs_that_finish_one_upload_at_the_same_moment_get_the_same_video(app, alice):
    before = files(service_uploads.folder())
    url = create(alice, len(good())).location
    patch(alice, url, good())
    tabs = [another_tab(app, alice) for _ in range(4)]
    db.session.commit()
    answers = at_once(app, [lambda tab=tab: post(tab, "/api/videos", json={"upload_id": url}) for tab in tabs])
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json["id"] for answer in answers}) == 1
    db.session.rollback()
    (video,) = db.session.scalars(sa.select(Video)).all()
    with storage().get_path(video.storage_key) as path:
        assert path.read_bytes() == good()
    assert files(service_uploads.folder()) == before


def test_two_tabs_that_write_one_upload_do_not_mix_their_bytes(app, alice, monkeypatch):
    monkeypatch.setattr(service_uploads, "PATIENCE_SECONDS", 5)
    url = create(alice, len(good())).location
    tabs = [another_tab(app, alice) for _ in range(3)]
    db.session.commit()
    answers = at_once(app, [lambda tab=tab: patch(tab, url, good()) for tab in tabs])
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json["message"] == f"The upload is at {len(good())}. Ask for its offset, then go on from there."
    assert service_uploads.path_of(db.session.scalars(sa.select(Upload)).one()).read_bytes() == good()


def test_first_bytes_count_among_the_uploads_under_way_however_many_come_at_once(app, alice):
    tabs = [another_tab(app, alice) for _ in range(8)]
    db.session.commit()
    answers = at_once(app, [lambda tab=tab: create(tab, 10, data=b"01234") for tab in tabs])
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "You have 5 uploads under way, which is the most allowed." in refused.json["message"]
    wrong = {"Upload-Checksum": "sha1 AAAA"}
    gone = next(answer.location for answer in answers if answer.status_code == 201)
    alice.delete(gone, headers=headers(alice, **TUS))
    for _ in range(3):
        assert create(alice, 10, data=b"01234", **wrong).status_code == 460  # it takes no place
    assert create(alice, 10, data=b"01234").status_code == 201
    assert create(alice, 10, data=b"01234").status_code == 429


needs_dev_full = pytest.mark.skipif(not DEV_FULL.is_char_device(), reason="This system has no /dev/full.")


@needs_dev_full
def test_a_disk_that_fills_up_under_an_upload_is_said_and_its_bytes_make_room(alice, nothing_is_left):
    url = create(alice, len(good())).location
    path = service_uploads.path_of(db.session.scalars(sa.select(Upload)).one())
    path.unlink()
    path.symlink_to(DEV_FULL)
    answer = patch(alice, url, good())
    assert (answer.status_code, answer.json["error"]) == (507, "storage_full")
    assert FULL in answer.json["message"]
    assert alice.head(url, headers=TUS).status_code == 404
    nothing_is_left()


@needs_dev_full
@pytest.mark.parametrize("door", ["the form", "the API"])
def test_a_disk_that_fills_up_under_a_form_is_said_and_leaves_nothing(alice, nothing_is_left, monkeypatch, door):
    real = Path.open

    def full(path, *args, **kwargs):
        return real(DEV_FULL if path.name.startswith("part-") else path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    said = DOORS[door](alice, good() * 20)
    assert said.status == 507
    assert FULL in said.sentence
    nothing_is_left()


@pytest.mark.parametrize("door", DOORS)
def test_a_disk_that_is_full_when_the_file_is_to_be_stored_leaves_nothing(
    app, alice, nothing_is_left, monkeypatch, door
):
    def full(*_args, **_kwargs):
        raise StorageFull

    monkeypatch.setattr(app.extensions["throughline.storage"], "put_path", full)
    said = DOORS[door](alice, good())
    assert said.status == 507
    assert FULL in said.sentence
    nothing_is_left()
