"""Many videos at once: what was done, what was not and why, one undo for all, and exports as one zip."""

from __future__ import annotations

import io
import zipfile

import pytest

from app import engine
from app.db import db
from app.engine import testing
from app.errors import Permanent
from app.lib.ids import new_id
from app.videos import archive, queries_library
from app.videos.models import Video
from tests.videos.browsing import post
from tests.videos.talks import SRT, again, give_transcript, make_video, say_uploaded


def make(alice, tmp_path, **values):
    return make_video(alice.user, tmp_path, sample="", **values)


def bulk(browser, action, videos=(), **data):
    return post(
        browser, "/videos/bulk", data={"action": action, "video_ids": [str(each.id) for each in videos], **data}
    )


def said(browser, answer) -> str:
    assert answer.status_code == 303, answer.text
    return browser.get(answer.location).text


def test_retry_says_how_many_were_not_failed(alice, models, mails, tmp_path):
    failed = [make(alice, tmp_path, status="failed", error_message="Try again.") for _ in range(3)]
    ready = [make(alice, tmp_path, status="completed") for _ in range(2)]
    page = said(alice, bulk(alice, "retry", [*failed, *ready]))
    assert "3 videos tried again; 2 had neither failed nor been cancelled." in page
    assert [again(video).status for video in failed] == ["pending"] * 3
    assert len(engine.list_runs(workflow="transcribe-video")) == 3


def test_where_nothing_could_be_done_it_says_so(alice, tmp_path):
    page = said(alice, bulk(alice, "retry", [make(alice, tmp_path, status="completed")]))
    assert "1 had neither failed nor been cancelled. Nothing was changed." in page


def test_cancel_stops_what_is_under_way(alice, tmp_path):
    video = make(alice, tmp_path)
    say_uploaded(video)
    page = said(alice, bulk(alice, "cancel", [video, make(alice, tmp_path, status="completed")]))
    assert "1 video cancelled; 1 had nothing under way." in page
    assert again(video).status == "cancelled"


def test_transcribing_again_tells_the_price_before_it_begins(app, alice, tmp_path):
    videos = [make(alice, tmp_path, status="completed", duration_seconds=600.0) for _ in range(2)]
    busy = make(alice, tmp_path, status="transcribing")
    question = bulk(alice, "transcribe", [*videos, busy])
    assert question.status_code == 200
    assert "$0.12" in question.text
    assert "1 of them is under way" in question.text
    assert [again(video).status for video in videos] == ["completed"] * 2, "nothing has begun"
    page = said(alice, bulk(alice, "transcribe", [*videos, busy], confirmed="1"))
    assert "2 videos being transcribed again; 1 under way already." in page
    assert [again(video).status for video in videos] == ["pending"] * 2


def test_a_question_for_the_script_is_the_form_alone(alice, tmp_path):
    video = make(alice, tmp_path)
    answer = post(
        alice, "/videos/bulk", data={"action": "delete", "video_ids": str(video.id)}, headers={"HX-Request": "true"}
    )
    assert "<html" not in answer.text
    assert f'value="{video.id}"' in answer.text
    answer = post(alice, "/videos/bulk", data={"action": "delete"}, headers={"HX-Request": "true"})
    assert (answer.status_code, "Select the videos first." in answer.text) == (422, True)


def test_indexing_again_is_one_batch_whose_result_is_said_plainly(alice, models, mails, tmp_path):
    model = models[1].model
    old, current, bad = (make(alice, tmp_path, title=title) for title in ("Old", "Current", "Bad"))
    give_transcript(old, "The moon pulls.", model="yes")
    db.session.execute(db.update(queries_library.Video).values(duration_seconds=75.0))
    db.session.commit()
    models[1].model = model
    give_transcript(current, "Bread rises.", model="yes")
    give_transcript(bad, "The ocelot sleeps.")
    without = make(alice, tmp_path, status="failed")
    db.session.execute(db.text("UPDATE chunk SET model = 'older' WHERE video_id = :id"), {"id": old.id})
    db.session.commit()
    models[1].script = [Permanent("The key was refused.")]
    page = said(alice, bulk(alice, "index", [bad, current, old, without], confirmed="1"))
    assert "3 videos being indexed again; 1 without a transcript." in page
    assert "Indexing again" in page
    (run,) = engine.list_runs(workflow="reprocess-embeddings")
    testing.drain(advance=True)
    page = alice.get("/videos").text
    assert "Indexed again: 1 done, 1 kept, since they were up to date, 1 failed." in page
    assert "The key was refused." in page
    assert f"run:{run.id}/batch" in page


def test_a_batch_is_watched_by_its_owner_alone(alice, charlie, root, models, tmp_path):
    from app.videos import batches

    video = make(alice, tmp_path)
    give_transcript(video, "The moon pulls.")
    bulk(alice, "index", [video], confirmed="1")
    (run,) = engine.list_runs(workflow="reprocess-embeddings")
    assert batches.may_watch(alice.user, run.id)
    assert not batches.may_watch(charlie.user, run.id)
    assert not batches.may_watch(root.user, run.id)
    assert f"batch-{run.id}" not in charlie.get("/videos").text


def test_tags_are_added_and_removed(alice, tmp_path):
    bare, tagged, full = (make(alice, tmp_path, tags=tags) for tags in ([], ["sea"], [f"tag {n}" for n in range(20)]))
    page = said(alice, bulk(alice, "add-tag", [bare, tagged, full], new_tag=" sea "))
    assert "1 video tagged “sea”; 1 had it; 1 with 20 tags, which is the most." in page or (
        "1 video tagged “sea”; 1 with 20 tags, which is the most; 1 had it." in page
    )
    assert (again(bare).tags, again(tagged).tags, len(again(full).tags)) == (["sea"], ["sea"], 20)
    page = said(alice, bulk(alice, "remove-tag", [bare, full], new_tag="sea"))
    assert "1 video no longer tagged “sea”; 1 without it." in page
    assert again(bare).tags == []


@pytest.mark.parametrize("tag", ["", "   ", "a,b", "\x00"])
def test_what_is_no_tag_is_refused(alice, tmp_path, tag):
    assert "Write one tag" in said(alice, bulk(alice, "add-tag", [make(alice, tmp_path)], new_tag=tag))


def test_one_undo_takes_a_whole_lot_back_and_no_other(alice, charlie, tmp_path):
    before = make(alice, tmp_path, title="Deleted before")
    post(alice, f"/videos/{before.id}/delete")
    videos = [make(alice, tmp_path) for _ in range(5)]
    assert "Delete these 5 videos?" in bulk(alice, "delete", videos).text
    answer = bulk(alice, "delete", videos, confirmed="1")
    page = alice.get(answer.location).text
    assert "5 videos were deleted" in page
    assert all(again(video).deleted_at for video in videos)
    address = f"/videos/{videos[2].id}/restore"
    assert post(charlie, address).status_code == 404
    assert "5 videos are back." in said(alice, post(alice, address))
    assert not any(again(video).deleted_at for video in videos)
    assert again(before).deleted_at


def test_after_30_seconds_a_lot_is_gone_for_good(alice, tmp_path, execute):
    videos = [make(alice, tmp_path) for _ in range(3)]
    answer = bulk(alice, "delete", videos, confirmed="1")
    execute("UPDATE video SET deleted_at = deleted_at - interval '32 seconds'")
    assert "data-undo" not in alice.get(answer.location).text
    assert "too late" in said(alice, post(alice, f"/videos/{videos[0].id}/restore"))
    testing.drain(advance=True)
    assert execute("SELECT count(*) FROM video").scalar() == 0


def test_what_was_under_way_is_cancelled_by_deleting_and_the_undo_says_so(alice, tmp_path):
    video = make(alice, tmp_path)
    say_uploaded(video)
    bulk(alice, "delete", [video], confirmed="1")
    (run,) = engine.list_runs(workflow="transcribe-video")
    assert run.status == "cancelled"
    assert "Work on 1 of them was cancelled" in said(alice, post(alice, f"/videos/{video.id}/restore"))


def test_all_that_fit_the_filter_are_meant_when_it_says_so(alice, charlie, tmp_path):
    fitting = [make(alice, tmp_path, title=f"Tides {n}", status="completed") for n in range(30)]
    others = [make(alice, tmp_path, title="Bread"), make_video(charlie.user, tmp_path, sample="", title="Tides")]
    page = alice.get("/videos?q=tides").text
    assert "All 30 that fit" in page
    answer = bulk(alice, "add-tag", fitting[:1], all="1", q="tides", new_tag="sea")
    assert "q=tides" in answer.location
    assert "30 videos tagged" in said(alice, answer)
    assert not any("sea" in again(video).tags for video in others)


def many(alice, tmp_path, count):
    first = make(alice, tmp_path, title="One of many", status="completed")
    columns = [column.name for column in Video.__table__.columns if column.name not in ("id", "storage_key")]
    listed = ", ".join(columns)
    db.session.execute(
        db.text(f"INSERT INTO video (id, storage_key, {listed}) SELECT gen_random_uuid(), storage_key || n, {listed} "
                "FROM video, generate_series(2, :count) n"),
        {"count": count},
    )  # fmt: skip
    db.session.commit()
    return first


def test_a_thousand_at_once_and_no_more(alice, tmp_path):
    many(alice, tmp_path, 1001)
    assert "More than 1,000 videos fit" in said(alice, bulk(alice, "add-tag", all="1", new_tag="sea"))
    ids = [str(new_id()) for _ in range(1001)]
    answer = post(alice, "/api/videos/bulk", json={"action": "retry", "video_ids": ids})
    assert answer.status_code == 422
    assert "1,000" in answer.json["message"]
    gone = queries_library.list_fitting(alice.user.id, queries_library.LibraryFilter(), 1)
    post(alice, f"/videos/{gone[0]}/delete")
    ids = [str(each) for each in queries_library.list_fitting(alice.user.id, queries_library.LibraryFilter(), 2000)]
    assert len(ids) == 1000
    page = said(alice, post(alice, "/videos/bulk", data={"action": "add-tag", "new_tag": "sea", "video_ids": ids}))
    assert "1,000 videos tagged “sea”." in page
    answer = post(alice, "/videos/bulk", data={"action": "delete", "confirmed": "1", "video_ids": ids})
    assert "1,000 videos were deleted" in alice.get(answer.location).text


@pytest.mark.parametrize(
    "data",
    [{}, {"action": "explode"}, {"action": "retry"}, {"action": "retry", "video_ids": "nonsense"},
     {"action": "retry", "video_ids": "\x00"}, {"action": "export", "video_ids": "", "formats": "exe"}],
)  # fmt: skip
def test_nonsense_is_refused_with_a_sentence(alice, data):
    assert "toast-warn" in said(alice, post(alice, "/videos/bulk", data=data))


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"action": "retry"}, {"action": "retry", "video_ids": "x"}, {"action": "retry", "video_ids": [1]},
     {"action": "retry", "video_ids": []}, {"action": [], "video_ids": []}, {"action": "export", "video_ids": []},
     {"action": "add-tag", "video_ids": ["0192f0e0-0000-7000-8000-000000000000"], "tag": 5}],
)  # fmt: skip
def test_nonsense_from_a_program_is_refused_with_a_sentence(alice, body):
    answer = post(alice, "/api/videos/bulk", json=body)
    assert answer.status_code == 422
    assert answer.json["message"]


def test_a_program_learns_what_became_of_each(alice, charlie, tmp_path):
    failed, ready = make(alice, tmp_path, status="failed"), make(alice, tmp_path, status="completed")
    stranger = make_video(charlie.user, tmp_path, sample="")
    ids = [str(each.id) for each in (failed, ready, stranger)]
    found = post(alice, "/api/videos/bulk", json={"action": "retry", "video_ids": ids}).json
    assert found["done"] == [str(failed.id)]
    assert found["refused"] == [{"reason": "had neither failed nor been cancelled", "video_ids": [str(ready.id)]}]
    assert found["missing"] == [str(stranger.id)]
    assert again(stranger).status == "pending"


# ---- Export ----


def unzip(answer) -> zipfile.ZipFile:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.data))


def test_transcripts_of_many_are_one_zip_with_safe_and_different_names(alice, tmp_path):
    titles = ["Same", "same", "../../etc/passwd", "con", 'a:b*?"<>|', "講演, été", "x" * 300, "..."]
    videos = [make(alice, tmp_path, title=title) for title in titles]
    for video in videos:
        give_transcript(video, f"Words of {video.id}.")
    without = make(alice, tmp_path, title="Nothing yet")
    found = unzip(bulk(alice, "export", [*videos, without], formats=["srt", "txt"]))
    names = found.namelist()
    assert found.testzip() is None
    assert len({name.casefold() for name in names}) == len(names) == 2 * len(titles) + 1
    assert not any("/" in name or "\\" in name or name.startswith(".") or len(name.encode()) > 255 for name in names)
    assert {"Same (2).srt", "same.srt", "_con.txt", "講演, été.txt", "Untitled.txt", "Left out.txt"} <= set(names) or (
        {"same (2).srt", "Same.srt", "_con.txt", "講演, été.txt", "Untitled.txt", "Left out.txt"} <= set(names)
    )
    assert "Nothing yet: it has no transcript yet" in found.read("Left out.txt").decode()
    texts = " ".join(found.read(name).decode() for name in names)
    assert all(str(video.id) in texts for video in videos)


def test_an_export_of_nothing_says_so(alice, tmp_path):
    page = said(alice, bulk(alice, "export", [make(alice, tmp_path)], formats=["srt"]))
    assert "nothing to export" in page


def test_an_export_holds_one_transcript_at_a_time_and_no_connection_meanwhile(alice, tmp_path):
    videos = [make(alice, tmp_path, title=f"Talk {n}") for n in range(4)]
    for video in videos:
        give_transcript(video, "word " * 500)
    sizes = []
    for part in archive.stream([video.id for video in videos], ["json"]):
        assert not db.session().in_transaction()
        assert not db.session().identity_map
        sizes.append(len(part))
    assert len(sizes) == 5, "a part for each, and the list at the end"


def test_strangers_export_nothing(alice, charlie, tmp_path):
    video = make(alice, tmp_path)
    give_transcript(video, "Secret words.")
    assert bulk(charlie, "export", [video], formats=["txt"]).status_code == 303


# ---- Details ----


def test_details_are_changed_by_a_form(alice, tmp_path):
    video = make(alice, tmp_path, title="Old", tags=["one"])
    page = alice.get(f"/videos/{video.id}/details").text
    assert 'value="Old"' in page
    answer = post(
        alice, f"/videos/{video.id}/details",
        data={"title": " New  name ", "description": "About\r\nit", "tags": "sea, moon\uff0ctide ,, sea", "language": "de"},
    )  # fmt: skip
    assert answer.location == f"/videos/{video.id}"
    found = again(video)
    assert (found.title, found.description, found.tags, found.language) == (
        "New name", "About\nit", ["sea", "moon", "tide"], "de",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "sentence"),
    [({"title": "  "}, "Write a title."), ({"title": "x" * 301}, "at most 300"), ({"language": "??"}, "short code"),
     ({"tags": ",".join(map(str, range(21)))}, "at most 20")],
)  # fmt: skip
def test_details_that_cannot_be_are_shown_again_with_why(alice, tmp_path, data, sentence):
    video = make(alice, tmp_path, title="Old")
    answer = post(alice, f"/videos/{video.id}/details", data={"title": "<b>New", **data})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert again(video).title == "Old"


def test_details_for_the_script_are_the_form_alone_and_saving_says_nothing(alice, tmp_path):
    video = make(alice, tmp_path)
    script = {"HX-Request": "true"}
    assert "<html" not in alice.get(f"/videos/{video.id}/details", headers=script).text
    answer = post(alice, f"/videos/{video.id}/details", data={"title": "New"}, headers=script)
    assert (answer.status_code, again(video).title) == (204, "New")


def test_retrying_many_that_came_with_captions_costs_nothing(alice, models, mails, tmp_path):
    videos = [make_video(alice.user, tmp_path, captions=SRT, status="failed") for _ in range(2)]
    bulk(alice, "retry", videos)
    testing.drain(advance=True)
    assert [again(video).status for video in videos] == ["completed"] * 2
    assert models[0].calls == []
