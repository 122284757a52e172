"""The small version of `make proofs`: some megabytes, the same cuts, the same kill, the same reload."""

from __future__ import annotations

import socket

import pytest

from tests.proofs import uploads
from tests.proofs.films import make_film

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("crash")]

BYTES = 24_000_000  # a cut costs what was in the buffers of the line, some megabytes


@pytest.fixture(scope="module")
def stack():
    with uploads.running() as stack:
        yield stack


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_film(tmp_path_factory.mktemp("film") / "talk.mp4", BYTES)


def test_a_file_arrives_whole_by_tuspy_over_a_line_that_breaks_and_a_server_that_is_killed(stack, film):
    uploads.by_tuspy(stack, film, BYTES // 16).check(film)


@pytest.mark.browser
def test_a_file_arrives_whole_from_a_browser_that_is_also_reloaded(stack, tmp_path, chromium):
    film = make_film(tmp_path / "another.mp4", BYTES + 1)  # the same one would be offered
    page = chromium.new_page()
    page.set_default_timeout(30_000)
    try:
        uploads.by_chromium(stack, film, page).check(film)
    finally:
        page.close()


def test_a_body_whose_chunks_are_none_is_a_refusal_and_no_crash_and_leaves_no_upload(stack):
    with stack.api("bob@example.org") as api:
        made = api.post("/uploads/", headers={"Upload-Length": "10"})
        lines = [
            ("POST /uploads/", "Upload-Length: 10", "application/offset+octet-stream", 400),
            ("POST /api/videos", "Accept: */*", "application/json", 400),
            (f"PATCH {made.headers['location']}", "Upload-Offset: 0", "application/offset+octet-stream", 204),
        ]
        for request, header, kind, status in lines:
            signed = f"Authorization: {api.headers['Authorization']}\r\nContent-Type: {kind}\r\n{header}"
            head = f"{request} HTTP/1.1\r\nHost: x\r\n{signed}\r\nTransfer-Encoding: chunked\r\n\r\n"
            with socket.create_connection(("127.0.0.1", stack.port), timeout=30) as line:
                line.sendall(head.encode() + b"1\r\n0\r\nno length\r\n")
                assert int(line.recv(1 << 16).split()[1]) == status, request
        assert api.head(made.headers["location"]).headers["Upload-Offset"] == "0"
        assert [each.name for each in (stack.folder / "uploads").iterdir()] == [
            made.headers["location"].rpartition("/")[2]
        ]
        api.delete(made.headers["location"]).raise_for_status()
