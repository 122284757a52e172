"""The small version of `make proofs`: some megabytes, the same cuts, the same kill, the same reload."""

from __future__ import annotations

import pytest

from tests.proofs import uploads
from tests.proofs.films import make_film

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("crash")]

BYTES = 8_000_000


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
