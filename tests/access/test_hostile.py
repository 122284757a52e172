"""Hostile bodies, queries and ids at every address: a sentence and a 4xx of the one shape, never a crash."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from tests.access.filling import addresses, body
from tests.access.table import TABLE, Line
from tests.access.test_pages import rules
from tests.access.world import World

READS_JSON = {
    "/api/videos": ("upload_id", "title", "language", "captions", "again"),
    "/api/video/upload": ("storagePath", "videoId", "creatorId", "originalFilename", "title", "language"),
    "/api/videos/<uuid:video_id>": ("title", "description", "language", "tags"),
    "/api/videos/reprocess-embeddings": ("video_ids", "force"),
}
JSON_LINES = [line for line in TABLE if line.rule in READS_JSON and line.method in ("POST", "PATCH")]
WRITES = [line for line in TABLE if line.rule.startswith("/api/") and line.method in ("POST", "PATCH", "DELETE")]
FORMS = [
    line
    for line in TABLE
    if line.rule
    in (
        "/account",
        "/account/keys",
        "/admin/people/invite",
        "/admin/people/<user_id>/limits",
        "/sign-in",
        "/runs/<uuid:run_id>/rerun",
    )
    and line.method == "POST"
]
PAGES = [line for line in TABLE if line.method == "GET" and "static" not in line.rule and line.rule != "/readyz"]
BODIES = {
    "nothing": b"",
    "not json": b"{not json",
    "a list": b"[]",
    "a text": b'"text"',
    "null": b"null",
    "a number": b"1e999",
    "NaN": b"NaN",
    "deeply nested lists": b"[" * 100_000 + b"]" * 100_000,
    "deeply nested objects": b'{"title":' * 50_000 + b"1" + b"}" * 50_000,
    "too large": b'{"title": "' + b"x" * (11 << 20) + b'"}',
    "NUL": b"\x00\x00\x00",
    "invalid UTF-8": b'{"title": "\xff\xfe"}',
    "a long number": b'{"title": ' + b"9" * 5000 + b"}",
}
VALUES = {
    "number": 7,
    "absurd number": 10**400,
    "fraction": 1e308,
    "negative": -1,
    "list": [[[]]],
    "object": {"a": {"b": None}},
    "NUL": "a\x00b",
    "half a character": "\ud800",
    "no id": "not-an-id",
    "long": "x" * 1_000_000,
    "climbing": "../../../../etc/passwd",
    "list of everything": [None, 1, "\x00", "\ud800", [], {}],
}
# What each list and page reads of its query; every page gets them all at once as well.
QUERIES = {
    "/api/videos": ("limit", "cursor", "status", "q", "tag"),
    "/api/search": ("q", "k", "video"),
    "/videos": ("status", "q", "tag", "cursor", "deleted"),
    "/search": ("q", "video"),
    "/runs": ("workflow", "before", "status", "of"),
    "/account/usage": ("month",),
    "/account/usage.csv": ("month",),
    "/admin/usage": ("month", "q"),
    "/admin/usage.csv": ("month",),
    "/admin/people": ("q",),
    "/sign-in": ("next", "email"),
}
ALL_QUERIES = sorted({name for names in QUERIES.values() for name in names} | {"t", "topics", "download"})
TEXTS = ("%00", "%ff%fe", "-1", "9" * 400, "1e308", "nan", "inf", "%ED%A0%80", "..%2F..", quote("'\"<>"), "x" * 3000,
         "0001-01", "9999-12", "99999-13", quote("٣"), "MDAwMS0wMS0wMVQwMDowMDowMCswMDowMHww", "%25%5F%5C", "()|*+")  # fmt: skip
IDS = ("not-an-id", "%00", "%ff")


def assert_refused(answer: TestResponse) -> None:
    assert 400 <= answer.status_code < 500, (answer.status, answer.get_data(as_text=True)[:500])
    found = answer.get_json()
    assert set(found) >= {"error", "message", "details"}, found
    assert isinstance(found["details"], list)
    assert len(found["message"]) < 500


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("line", JSON_LINES, ids=str)
def test_a_body_that_is_no_json_object_is_refused(world: World, line: Line, name: str):
    rule = rules(world)[line.method, line.rule]
    address = next(addresses(world, rule, "alice"))
    for content_type in (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=x",
    ):
        answer = world.ask("alice-key", line.method, address, data=BODIES[name], content_type=content_type)
        if name == "nothing" and rule.endpoint == "videos.api_reprocess_embeddings":
            assert answer.status_code == 202  # nothing said: all of one's own
            world.restore()
        else:
            assert_refused(answer)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("line", JSON_LINES, ids=str)
def test_a_field_of_a_wrong_kind_is_refused_or_ignored(world: World, line: Line, name: str):
    rule = rules(world)[line.method, line.rule]
    address = next(addresses(world, rule, "alice"))
    good = body(world, rule.endpoint)["json"]
    if "upload_id" in good:
        good["upload_id"] = str(world.things["open upload"])  # refused in the end, but after all fields were read
    for field in READS_JSON[line.rule]:
        text = json.dumps(good | {field: VALUES[name]})
        answer = world.ask("alice-key", line.method, address, data=text, content_type="application/json")
        if answer.status_code < 400:
            assert answer.status_code in line.statuses.values()
            world.restore()
        else:
            assert_refused(answer)


@pytest.mark.parametrize("name", ["not json", "deeply nested lists", "NUL", "too large"])
@pytest.mark.parametrize("line", WRITES, ids=str)
def test_what_reads_no_body_does_not_stumble_over_one(world: World, line: Line, name: str):
    rule = rules(world)[line.method, line.rule]
    for who in ("alice-key", "charlie-key", "nobody"):
        answer = world.ask(
            who, line.method, next(addresses(world, rule, who)), data=BODIES[name], content_type="application/json"
        )
        if answer.status_code < 400:
            assert who == "alice-key"
            world.restore()
        else:
            assert_refused(answer)


@pytest.mark.parametrize("text", ["%00", "9" * 400], ids=lambda text: text[:20])
@pytest.mark.parametrize("line", PAGES, ids=str)
def test_no_query_makes_a_page_stumble(world: World, line: Line, text: str):
    rule = rules(world)[line.method, line.rule]
    who = "root" if line.statuses["alice"] == 404 else "alice"
    address = next(addresses(world, rule, who))
    answer = world.ask(who, "GET", address, query_string="&".join(f"{name}={text}" for name in ALL_QUERIES))
    assert answer.status_code < 500, answer.get_data(as_text=True)[-500:]
    if line.rule.startswith("/api/") and answer.status_code >= 400:
        assert_refused(answer)


@pytest.mark.parametrize(("rule", "name"), [(rule, name) for rule, names in QUERIES.items() for name in names])
def test_no_single_query_makes_a_list_stumble(world: World, rule: str, name: str):
    for text in TEXTS:
        answer = world.ask("nobody" if rule == "/sign-in" else "root", "GET", rule, query_string=f"{name}={text}")
        assert answer.status_code < 500, (text, answer.get_data(as_text=True)[-500:])


@pytest.mark.parametrize("identity", IDS, ids=lambda text: text[:20])
@pytest.mark.parametrize("line", [line for line in TABLE if "_id>" in line.rule], ids=str)
def test_an_id_that_is_none_is_not_found(world: World, line: Line, identity: str):
    rule = rules(world)[line.method, line.rule]
    who = "root" if line.statuses["alice"] == 404 else "alice"
    parts = rule.rule.split("<")
    made = parts[0]
    for part in parts[1:]:
        converter, _, rest = part.partition(">")
        name = converter.rpartition(":")[2]
        choice = {"kind": "source", "form": "json", "change": "enable", "instance_number": "0", "key": "x"}
        made += choice.get(name, identity) + rest
    answer = world.ask(who, line.method, made, **body(world, rule.endpoint))
    if line.method != "OPTIONS":
        assert answer.status_code in (400, 404, 405), answer.status
    if made.startswith("/api/"):
        assert_refused(answer)


@pytest.mark.parametrize("name", ["session", "remember_token", "theme", "_csrf_token", "nobody-knows-me"])
@pytest.mark.parametrize("who", ["nobody", "alice", "alice-key"])
def test_no_cookie_makes_a_page_stumble(world: World, who: str, name: str):
    signs = world.signs(who)
    for value in ("x|\u00e9", "|", "x|y", "a.b.c", "\u00ff", '"', ""):
        cookies = "; ".join([*filter(None, [signs.get("Cookie")]), f"{name}={value}"])
        answer = world.ask(who, "GET", "/account/usage", headers={"Cookie": cookies})
        assert answer.status_code == {"nobody": 302, "alice": 200, "alice-key": 403}[who], (value, answer.status)


@pytest.mark.parametrize("line", FORMS, ids=str)
def test_no_form_field_makes_a_page_stumble(world: World, line: Line):
    rule = rules(world)[line.method, line.rule]
    who = "root" if line.statuses["alice"] == 404 else "alice"
    good = body(world, rule.endpoint)["data"]
    for name in good:
        for value in ("a\x00b", "\x00", "\u202e\ufffe", "x" * 100_000):
            answer = world.ask(who, line.method, next(addresses(world, rule, who)), data=good | {name: value})
            assert answer.status_code < 500, (name, value[:10], answer.get_data(as_text=True)[-500:])
            world.restore()
