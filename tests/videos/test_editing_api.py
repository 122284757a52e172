"""Changing a transcript through the doors that programs and pages use."""

from __future__ import annotations

import io
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.accounts import service as accounts
from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.engine import testing
from app.lib.ids import new_id
from app.videos import events, service_editing
from app.videos import queries_versions as versions
from app.videos.models import Segment, Transcript
from tests.videos.browsing import token
from tests.videos.talks import SRT, again, give_transcript, make_video

TEXT = "consistent hashing puts every server on a ring so that a key finds its place. "


@pytest.fixture(autouse=True)
def _tokens(alice, charlie, root):
    for browser in (alice, charlie, root):
        browser.environ_base["HTTP_X_CSRFTOKEN"] = token(browser)


@pytest.fixture
def video(app, alice, tmp_path):
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    made = make_video(alice.user, tmp_path, sample="", title="Rings")
    give_transcript(made, TEXT * 4, model="yes")
    yield made
    llm.install(app)


def shown(browser, video):
    return browser.get(f"/api/videos/{video.id}/transcript").json


def edit(browser, video, *operations, base=None, **more):
    base = base or shown(browser, video)["transcript_id"]
    return browser.post(f"/videos/{video.id}/transcript", json={"base": base, "operations": operations, **more})


def count_versions(video):
    return db.session.scalar(sa.select(sa.func.count()).where(Transcript.video_id == video.id))


def test_an_edit_is_a_new_version_and_the_old_one_stays(alice, video):
    before = shown(alice, video)
    answer = edit(alice, video, {"op": "text", "cue": 0, "text": "Rendezvous hashing puts every server"})
    assert answer.status_code == 200
    assert (answer.json["number"], answer.json["note"], answer.json["source"]) == (2, "1 cue changed", "edit")
    assert answer.json["cues"][0]["text"] == "Rendezvous hashing puts every server"
    assert answer.json == shown(alice, video)
    old = alice.get(f"/api/videos/{video.id}/transcripts/{before['transcript_id']}.json").json
    assert [cue["text"] for cue in old["segments"]] == [cue["text"] for cue in before["cues"]]
    assert again(video).status == "completed"
    testing.assert_sent(events.TRANSCRIPT_EDITED, video_id=str(video.id))


def test_a_key_may_patch_and_read(client, alice, video):
    headers = {"Authorization": f"Bearer {accounts.create_key('alice@example.org')}"}
    db.session.commit()
    path = f"/api/videos/{video.id}/transcript"
    base = client.get(path, headers=headers).json["transcript_id"]
    body = {"base": base, "operations": [{"op": "delete", "cue": 0}], "note": "  my\nnote "}
    answer = client.patch(path, headers=headers, json=body)
    assert (answer.status_code, answer.json["note"]) == (200, "my note")
    items = client.get(f"/api/videos/{video.id}/transcripts", headers=headers).json["items"]
    assert set(items[0]) == {"id", "number", "source", "note", "model", "created_at", "cues", "is_current"}
    assert [(item["number"], item["is_current"]) for item in items] == [(2, True), (1, False)]
    assert items[0]["cues"] == items[1]["cues"] - 1
    assert items[0]["model"] == "test"  # whose words it still holds


def test_of_two_tabs_that_save_the_second_is_told(alice, video):
    base = shown(alice, video)["transcript_id"]
    first = edit(alice, video, {"op": "delete", "cue": 0}, base=base)
    second = edit(alice, video, {"op": "delete", "cue": 1}, base=base)
    assert (first.status_code, second.status_code) == (200, 409)
    assert second.json["current"] == {"id": first.json["transcript_id"], "number": 2}
    assert second.json["error"] == "transcript_changed"
    assert "version 2" in second.json["message"]
    assert shown(alice, video) == first.json


def test_a_bad_operation_is_named_and_nothing_is_saved(alice, video):
    before = shown(alice, video)
    answer = edit(alice, video, {"op": "delete", "cue": 0}, {"op": "split", "cue": 1, "at": 99})
    assert answer.status_code == 422
    assert answer.json["details"][0]["path"] == "operations/2"
    assert "cannot be split at 99" in answer.json["message"]
    assert shown(alice, video) == before


def test_nothing_changed_makes_no_version(alice, video):
    before = shown(alice, video)
    answer = edit(alice, video, {"op": "text", "cue": 0, "text": before["cues"][0]["text"]})
    assert answer.json == before
    assert count_versions(video) == 1


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        {},
        {"base": "x", "operations": [{"op": "delete", "cue": 0}]},
        {"base": str(uuid4())},
        {"base": str(uuid4()), "operations": []},
        {"base": str(uuid4()), "operations": {}},
        {"base": str(uuid4()), "operations": [{"op": "delete", "cue": 0}] * 5001},
        {"base": str(uuid4()), "operations": [{"op": "delete", "cue": 0}], "note": 7},
        {"base": str(uuid4()), "operations": [{"op": "delete", "cue": 0}], "owner": "me"},
    ],
)
def test_what_is_no_edit_is_refused_with_a_sentence(alice, video, body):
    answer = alice.post(f"/videos/{video.id}/transcript", json=body)
    assert answer.status_code == 422
    assert answer.json["message"].endswith(".")
    assert count_versions(video) == 1


@pytest.mark.parametrize(
    "operation",
    [
        7,
        {},
        {"op": "drop"},
        {"op": ["text"]},
        {"op": "text", "cue": 0},
        {"op": "text", "cue": -1, "text": "x"},
        {"op": "text", "cue": True, "text": "x"},
        {"op": "text", "cue": 1.0, "text": "x"},
        {"op": "text", "cue": 9999, "text": "x"},
        {"op": "text", "cue": 10**30, "text": "x"},
        {"op": "text", "cue": 0, "text": " \n "},
        {"op": "text", "cue": 0, "text": "\u202e\u0000\u200d"},
        {"op": "text", "cue": 0, "text": "x" * 1001},
        {"op": "times", "cue": 0, "start_seconds": "0", "end_seconds": 1},
        {"op": "times", "cue": 0, "start_seconds": -1, "end_seconds": 1},
        {"op": "times", "cue": 0, "start_seconds": 1, "end_seconds": 1},
        {"op": "times", "cue": 0, "start_seconds": 0, "end_seconds": 30},
        {"op": "times", "cue": 0, "start_seconds": 0, "end_seconds": 10**400},
        {"op": "split", "cue": 0, "at": 0},
        {"op": "merge", "cue": 8},
        {"op": "speaker", "cue": 0},
        {"op": "speaker", "cue": 0, "speaker": "x" * 101},
        {"op": "speaker", "cue": 3, "through": 2, "speaker": "Ada"},
        {"op": "rename_speaker", "speaker": "Nobody", "to": "Ada"},
        {"op": "insert", "cue": 0, "start_seconds": 0, "end_seconds": 1, "text": "x"},
        {"op": "insert", "cue": 10, "start_seconds": 90, "end_seconds": 99, "text": "x"},
        {"op": "replace", "find": "", "with": "x"},
        {"op": "replace", "find": "never said", "with": "x"},
        {"op": "replace", "find": "ring", "with": "x", "match_case": "yes"},
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(alice, video, operation):
    answer = edit(alice, video, operation)
    assert answer.status_code == 422, answer.json
    assert answer.json["details"][0]["path"] == "operations/1"
    assert count_versions(video) == 1


def test_half_a_character_and_json_that_only_python_reads_are_refused(alice, video):
    base = shown(alice, video)["transcript_id"]
    for text in ('"\\ud800"', "NaN"):
        body = f'{{"base": "{base}", "operations": [{{"op": "text", "cue": 0, "text": {text}}}]}}'
        answer = alice.post(f"/videos/{video.id}/transcript", data=body, content_type="application/json")
        assert answer.status_code == 422


def test_one_cue_is_changed_by_a_form(alice, video):
    base = shown(alice, video)["transcript_id"]
    fields = {"base": base, "text": "Rings again", "speaker": "Ada", "start": "0:00", "end": "0:02,5"}
    answer = alice.post(f"/videos/{video.id}/transcript/cues/0", data=fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/videos/{video.id}")
    cue = shown(alice, video)["cues"][0]
    assert (cue["text"], cue["speaker"], cue["end_seconds"]) == ("Rings again", "Ada", 2.5)
    assert "Saved." in alice.get(f"/videos/{video.id}").text
    alice.post(f"/videos/{video.id}/transcript/cues/0", data=fields)
    assert "was changed meanwhile" in alice.get(f"/videos/{video.id}").text
    alice.post(f"/videos/{video.id}/transcript/cues/0", data=fields | {"end": "soon"})
    assert "must be a time" in alice.get(f"/videos/{video.id}").text
    assert count_versions(video) == 2


def test_captions_are_imported_as_a_form_and_by_put(alice, video):
    file = {"file": (io.BytesIO(SRT), "mine.srt")}
    answer = alice.post(f"/videos/{video.id}/transcript/import", data=file, content_type="multipart/form-data")
    assert answer.status_code == 303
    assert next(cue["text"] for cue in shown(alice, video)["cues"]) == "Welcome to the talk about rings."
    assert shown(alice, video)["note"] == "2 cues from mine.srt"
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ada>潮汐每天两次\n"
    answer = alice.put(f"/api/videos/{video.id}/transcript", data=vtt.encode(), content_type="text/vtt")
    assert (answer.status_code, answer.json["source"], answer.json["number"]) == (200, "import", 3)
    assert answer.json["cues"][0]["speaker"] == "Ada"
    assert len(answer.json["cues"][0]["words"]) == 6


def test_a_malformed_file_is_refused_with_its_lines(alice, video):
    bad = b"1\n00:00:05,000 --> 00:00:02,000\nx\n\n2\nsoon\ny\n"
    answer = alice.put(f"/api/videos/{video.id}/transcript", data=bad)
    assert answer.status_code == 422
    assert [each["path"] for each in answer.json["details"]] == ["line 2", "line 6"]
    file = {"file": (io.BytesIO(bad), "mine.srt")}
    alice.post(f"/videos/{video.id}/transcript/import", data=file, content_type="multipart/form-data")
    page = alice.get(f"/videos/{video.id}").text
    assert "Line 2: " in page
    assert "Line 6: " in page
    assert count_versions(video) == 1


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xff\xff", b"a" * (5 * 1024 * 1024 + 1), b"x" * (7 * 1024 * 1024)])
def test_what_is_no_caption_file_is_refused(alice, video, data):
    answer = alice.put(f"/api/videos/{video.id}/transcript", data=data)
    assert answer.status_code in (413, 422)
    # By hand: the test client leaves the file open into which it puts a large form.
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.srt"\r\n\r\n'
    answer = alice.post(
        f"/videos/{video.id}/transcript/import",
        data=head + data + b"\r\n--b--\r\n",
        content_type="multipart/form-data; boundary=b",
    )
    assert answer.status_code in (303, 413)
    assert count_versions(video) == 1


def test_an_old_version_is_restored_as_a_new_one(alice, video):
    first = shown(alice, video)
    edit(alice, video, {"op": "delete", "cue": 0})
    path = f"videos/{video.id}/transcripts/{first['transcript_id']}/restore"
    answer = alice.post(f"/api/{path}")
    assert (answer.json["number"], answer.json["source"], answer.json["note"]) == (3, "restore", "Version 1 restored")
    assert answer.json["cues"] == first["cues"]
    current = answer.json["transcript_id"]
    assert alice.post(f"/api/videos/{video.id}/transcripts/{current}/restore").status_code == 409
    assert alice.post(f"/{path}").status_code == 303
    assert shown(alice, video)["number"] == 4


def test_what_differs_between_two_versions(alice, video):
    first = shown(alice, video)["transcript_id"]
    edit(
        alice, video, {"op": "replace", "find": "ring", "with": "circle"}, {"op": "speaker", "cue": 1, "speaker": "Ada"}
    )
    second = shown(alice, video)["transcript_id"]
    found = alice.get(f"/api/videos/{video.id}/transcripts/{second}/changes").json
    assert (found["from"], found["to"]) == (first, second)
    assert [hunk["kind"] for hunk in found["hunks"]] == ["changed", "speaker", *["changed"] * 3]
    assert (found["hunks"][1]["old"], found["hunks"][1]["new"]) == ("", "Ada")
    hunk = found["hunks"][0]
    assert (hunk["before"], hunk["old"], hunk["new"], hunk["after"]) == (
        "puts every server on a", "ring", "circle", "so that a key finds",
    )  # fmt: skip
    back = alice.get(f"/api/videos/{video.id}/transcripts/{first}/changes?from={second}").json
    assert (back["hunks"][0]["old"], back["hunks"][0]["new"]) == ("circle", "ring")
    assert alice.get(f"/api/videos/{video.id}/transcripts/{first}/changes").json["from"] is None


def test_versions_of_another_video_or_of_nothing_are_404(alice, video, tmp_path):
    other = make_video(alice.user, tmp_path, sample="", title="Other")
    give_transcript(other, TEXT)
    foreign = shown(alice, other)["transcript_id"]
    mine = shown(alice, video)["transcript_id"]
    for version in (foreign, new_id()):
        path = f"/api/videos/{video.id}/transcripts/{version}"
        assert alice.get(f"{path}.srt").status_code == 404
        assert alice.get(f"{path}/changes").status_code == 404
        assert alice.post(f"{path}/restore").status_code == 404
        assert alice.get(f"/api/videos/{video.id}/transcripts/{mine}/changes?from={version}").status_code == 404
    assert alice.get(f"/api/videos/{video.id}/transcripts/{mine}.exe").status_code == 404


@pytest.mark.parametrize("who", ["charlie", "root"])
def test_strangers_and_administrators_find_nothing(request, alice, video, who):
    browser = request.getfixturevalue(who)
    mine = shown(alice, video)["transcript_id"]
    answer = browser.post(
        f"/videos/{video.id}/transcript", json={"base": mine, "operations": [{"op": "delete", "cue": 0}]}
    )
    assert answer.status_code == 404
    path = f"/api/videos/{video.id}"
    for each in (
        browser.get(f"{path}/transcript"),
        browser.patch(f"{path}/transcript", json={"base": mine, "operations": [{"op": "delete", "cue": 0}]}),
        browser.put(f"{path}/transcript", data=SRT),
        browser.get(f"{path}/transcripts"),
        browser.get(f"{path}/transcripts/{mine}.txt"),
        browser.get(f"{path}/transcripts/{mine}/changes"),
        browser.post(f"{path}/transcripts/{mine}/restore"),
    ):
        assert each.status_code == 404
        assert "ring" not in each.text
    assert count_versions(video) == 1


def test_the_oldest_edits_go_but_never_originals_nor_what_is_searched(alice, video, monkeypatch):
    monkeypatch.setattr(service_editing, "MOST_VERSIONS", 4)
    original = shown(alice, video)["transcript_id"]
    alice.put(f"/api/videos/{video.id}/transcript", data=SRT)
    for n in range(5):
        assert edit(alice, video, {"op": "text", "cue": 0, "text": f"edit {n}"}).status_code == 200
    kept = versions.list_versions(again(video))
    assert [(each.number, each.source) for each in kept] == [
        (7, "edit"), (6, "edit"), (2, "import"), (1, "model"),
    ]  # fmt: skip
    assert str(kept[-1].id) == original  # what the served chunks were cut from
    left = db.session.scalar(sa.select(sa.func.count(sa.distinct(Segment.transcript_id))))
    assert left == 4


def test_too_many_originals_refuse_a_further_import(alice, video, monkeypatch):
    monkeypatch.setattr(service_editing, "MOST_VERSIONS", 2)
    assert alice.put(f"/api/videos/{video.id}/transcript", data=SRT).status_code == 200
    answer = alice.put(f"/api/videos/{video.id}/transcript", data=SRT)
    assert (answer.status_code, count_versions(video)) == (409, 2)
