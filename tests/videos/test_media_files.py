"""The files of videos over HTTP: every accepted format, whole and in parts, from a disk and from a store elsewhere."""

from __future__ import annotations

import re

import pytest

from app.adapters.storage import MemoryStorage
from tests.videos.media_files import KINDS
from tests.videos.talks import make_video

DATA = bytes(range(256)) * 20


@pytest.fixture(params=["disk", "elsewhere"])
def store(request, app, monkeypatch):
    if request.param == "elsewhere":
        monkeypatch.setitem(app.extensions, "throughline.storage", MemoryStorage())


@pytest.fixture
def file_of(alice, tmp_path, store):
    def make(kind):
        source = tmp_path / f"talk.{kind}"
        source.write_bytes(DATA)
        return f"/videos/{make_video(alice.user, tmp_path, source=source, media_type=KINDS[kind]).id}/source"

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_served_whole_in_parts_and_once(alice, file_of, kind):
    url = file_of(kind)
    whole = alice.get(url, buffered=True)
    assert (whole.status_code, whole.data, whole.mimetype) == (200, DATA, KINDS[kind])
    head = alice.head(url, buffered=True)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("Content-Length", "Content-Type", "Accept-Ranges", "ETag", "Last-Modified"):
        assert head.headers.get(name) == whole.headers.get(name, "missing"), name
    for wanted, start, end in (
        ("10-19", 10, 20),
        ("5000-", 5000, 5120),
        ("-20", 5100, 5120),
        ("0-99999", 0, 5120),
        ("-6000", 0, 5120),
    ):
        part = alice.get(url, headers={"Range": f"bytes={wanted}"}, buffered=True)
        assert (part.status_code, part.data) == (206, DATA[start:end]), wanted
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/5120"
        assert part.headers["Content-Length"] == str(end - start)
    assert alice.get(url, headers={"If-None-Match": whole.headers["ETag"]}, buffered=True).status_code == 304
    assert (
        alice.get(url, headers={"If-Modified-Since": whole.headers["Last-Modified"]}, buffered=True).status_code == 304
    )


def test_a_range_beyond_the_file_or_of_nonsense(alice, file_of):
    url = file_of("mp4")
    beyond = alice.get(url, headers={"Range": "bytes=5120-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */5120")
    for odd in ("bytes=b-a", "lines=1-2", "bytes=20-10", "bytes=0-1,4-5"):
        assert alice.get(url, headers={"Range": odd}, buffered=True).data == DATA, odd


def test_a_part_is_sent_only_of_the_file_that_the_browser_has(alice, file_of):
    url = file_of("mp4")
    whole = alice.get(url, buffered=True)
    for known, status in (
        (whole.headers["ETag"], 206),
        ('"another"', 200),
        (whole.headers["Last-Modified"], 206),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ):
        answer = alice.get(url, headers={"Range": "bytes=0-9", "If-Range": known}, buffered=True)
        assert (answer.status_code, len(answer.data)) == (status, 10 if status == 206 else 5120), known


def test_what_browsers_cannot_play_says_so_and_is_offered_as_a_download(alice, tmp_path):
    playable = make_video(alice.user, tmp_path, sample="")
    page = alice.get(f"/videos/{playable.id}").text
    assert "<video" in page
    assert "watch-unplayable" not in page
    for facts in ({"media_type": "video/x-msvideo"}, {"video_codec": "mpeg4"}, {"audio_codec": "ac3"}):
        video = make_video(alice.user, tmp_path, sample="", original_filename='my "talk".avi', **facts)
        page = alice.get(f"/videos/{video.id}").text
        assert not re.search(r"<video[^>]* src=", page)
        assert "watch-unplayable" in page
        assert "Browsers do not play this kind of file" in page
        assert f'action="/videos/{video.id}/make-rendition"' in page
        assert f'href="/videos/{video.id}/source"' in page
        assert 'download="my &#34;talk&#34;.avi"' in page
