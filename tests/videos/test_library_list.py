"""The library's list: its filters, orders and pages, as a grid and as lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.db import db
from app.videos import queries, queries_library, service
from app.videos.queries_library import SORTS, LibraryFilter
from tests.videos.talks import make_video

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LETTERS = 'éEa|"'
KEYS = {
    "newest": lambda video: (video.created_at, video.id),
    "oldest": lambda video: (video.created_at, video.id),
    "title": lambda video: (video.title.lower(), video.id),
    "length": lambda video: (video.duration_seconds, video.id),
    "size": lambda video: (video.size_bytes, video.id),
    "changed": lambda video: (video.changed_at, video.id),
}


@pytest.fixture
def talks(alice, tmp_path):
    """Forty videos, with ties in everything that they can be ordered by."""
    return [
        make_video(
            alice.user, tmp_path, sample="", title=f"Talk {LETTERS[n % 5]}{n % 7}", original_filename=f"file-{n}.mp4",
            tags=["even"] if n % 2 == 0 else [], language="en" if n % 3 else "pt-BR",
            created_at=NOON + timedelta(minutes=n // 2), duration_seconds=1.1 * (n % 6), changed_at=NOON,
        )
        for n in range(40)
    ]  # fmt: skip


@pytest.mark.parametrize("sort", SORTS)
def test_every_order_shows_each_video_once_over_its_pages(alice, talks, sort):
    seen, cursor = [], ""
    while True:
        page = queries_library.list_library(alice.user.id, LibraryFilter(sort=sort, cursor=cursor), limit=7)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len({video.id for video in seen}) == len(seen) == 40
    if sort != "title":  # the database has its own alphabet
        assert seen == sorted(seen, key=KEYS[sort], reverse=SORTS[sort].is_falling)


def test_pages_stay_right_when_a_video_comes_or_goes_in_between(alice, talks, tmp_path):
    first = queries_library.list_library(alice.user.id, LibraryFilter(), limit=10)
    make_video(alice.user, tmp_path, sample="")
    service.delete(first.items[3])
    db.session.commit()
    second = queries_library.list_library(alice.user.id, LibraryFilter(cursor=first.next_cursor), limit=10)
    assert not {video.id for video in first.items} & {video.id for video in second.items}
    assert [video.id for video in second.items] == [
        video.id for video in sorted(talks, key=KEYS["newest"], reverse=True)[10:20]
    ]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    "cursor",
    ["x", "e30", "W10", "WyJuZXdlc3QiXQ", "A" * 5000, "WyJzaXplIiwxZTk5OSwieCJd",
     "WyJzaXplIiwgOTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LCAiMDE5MmYwZTAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAwIl0",
     "WyJ0aXRsZSIsICJcdTAwMDAiLCAiMDE5MmYwZTAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAwIl0"],
)  # fmt: skip
def test_a_cursor_that_no_page_gave_is_refused_with_a_sentence(alice, sort, cursor):
    answer = alice.get("/api/videos", query_string={"sort": sort, "cursor": cursor})
    assert answer.status_code == 422
    assert "first page" in answer.json["message"]


def test_the_cursor_of_another_order_is_refused(alice, talks):
    cursor = alice.get("/api/videos?limit=5").json["next_cursor"]
    assert alice.get("/api/videos", query_string={"limit": 5, "cursor": cursor}).status_code == 200
    assert alice.get("/api/videos", query_string={"sort": "size", "cursor": cursor}).status_code == 422


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({"q": "TIDES"}, {"On tides"}),
        ({"q": "loaf"}, {"On bread"}),  # its file
        ({"q": "baking"}, {"On bread"}),  # its tag
        ({"q": "on bread baking"}, {"On bread"}),
        ({"q": "bread tides"}, set()),
        ({"q": "%"}, set()),
        ({"q": "_"}, set()),
        ({"tag": "baking"}, {"On bread"}),
        ({"tag": "bak"}, set()),
        ({"language": "fr"}, {"On bread"}),
        ({"status": "failed"}, {"On tides"}),
        ({"status": "active"}, {"On bread"}),
        ({"tag": "baking", "status": "failed"}, set()),
    ],
)
def test_filters_find_by_title_file_tag_language_and_status(alice, tmp_path, query, titles):
    make_video(alice.user, tmp_path, sample="", title="On tides", status="failed", original_filename="sea.mp4")
    make_video(
        alice.user, tmp_path, sample="", title="On bread", original_filename="loaf.mp4", tags=["baking"], language="fr"
    )
    assert {item["title"] for item in alice.get("/api/videos", query_string=query).json["items"]} == titles
    assert queries_library.count_library(alice.user.id, LibraryFilter(**query)) == len(titles)


def test_an_unknown_order_is_refused(alice):
    answer = alice.get("/api/videos?sort=colour")
    assert answer.status_code == 422
    assert "newest" in answer.json["details"][0]["message"]


def test_tags_are_listed_with_how_many_videos_have_them_and_only_ones_own(alice, charlie, talks, tmp_path):
    make_video(charlie.user, tmp_path, sample="", tags=["secret-tag"])
    page = alice.get("/videos").text
    row = page[page.index('aria-label="Tags"') :].partition("</nav>")[0]
    assert re.search(r'href="/videos\?tag=even"[^>]*>even <span class="num faint">20<', row)
    assert "secret-tag" not in page
    page = alice.get("/videos?tag=even&sort=size").text
    assert "No longer only" in page
    assert 'href="/videos?sort=size"' in page
    assert "20 videos" in page


def test_a_tag_with_signs_is_found_by_its_link(alice, tmp_path):
    video = make_video(alice.user, tmp_path, sample="", tags=["C&C++ <b>?#"])
    link = re.search(r'class="chip tag" href="([^"]+)"', alice.get(f"/videos/{video.id}/card").text)[1]
    assert str(video.id) in alice.get(link.replace("&amp;", "&")).text


def test_the_view_is_remembered_by_the_browser(alice, client, talks):
    assert 'class="tiles"' in alice.get("/videos").text
    answer = alice.get("/videos?view=list")
    assert "video-line" in answer.text
    assert "Max-Age=31536000" in answer.headers["Set-Cookie"]
    assert "video-line" in alice.get("/videos?status=active").text
    assert 'class="tiles"' in alice.get("/videos?view=grid").text
    assert 'class="tiles"' in alice.get("/videos").text


def test_the_next_page_keeps_filter_and_order(alice, talks):
    page = alice.get("/videos?sort=title&tag=&q=talk").text
    link = re.search(r'href="([^"]+)" rel="next"', page)[1].replace("&amp;", "&")
    assert "sort=title" in link
    assert "q=talk" in link
    assert alice.get(link).text.count("data-choice>") == 16


def test_the_drawn_waveform_stands_where_there_is_no_picture(alice, tmp_path):
    video = make_video(alice.user, tmp_path, sample="", video_codec=None, waveform=[0.1, 0.9, 0.4] * 300)
    assert "thumb-wave" in alice.get(f"/videos/{video.id}/card").text
    assert "data-waveform" in alice.get(f"/videos/{video.id}").text


def test_lines_that_sockets_push_hold_nothing_personal(app, alice, tmp_path):
    from app.videos import routes_library

    video = make_video(alice.user, tmp_path, sample="", title="<b>bold</b>", tags=["<i>"])
    with app.test_request_context():
        line = routes_library.render_line(video.id)
    assert "&lt;b&gt;bold" in line
    assert "<i>" not in line.replace("<input", "")
    assert "csrf" not in line
    assert alice.user.email not in line


def test_recently_changed_is_what_was_renamed(alice, talks):
    first = talks[0]
    service.change_video(queries.get_for(alice.user, first.id), {"title": "Renamed"})
    db.session.commit()
    assert alice.get("/api/videos?sort=changed&limit=1").json["items"][0]["title"] == "Renamed"
