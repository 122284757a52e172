"""What another site could make a signed-in browser send is refused; every address copes with every method."""

from __future__ import annotations

import io
from typing import Any

import pytest
from werkzeug.routing import Rule

from tests.access.filling import addresses, body
from tests.access.table import TABLE, Line
from tests.access.test_pages import SAFE, rules
from tests.access.world import World

# The token in the address is the permission, and mail programs post here by themselves (RFC 8058).
OPEN = ("/notices/unsubscribe/<token>",)
UNSAFE = [line for line in TABLE if line.method not in SAFE and line.rule not in OPEN]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")


@pytest.mark.parametrize("line", UNSAFE, ids=str)
@pytest.mark.parametrize("who", ["alice", "root"])
def test_without_the_form_token_a_signed_in_browser_is_refused(world: World, line: Line, who: str):
    rule = rules(world)[line.method, line.rule]
    for address in addresses(world, rule, who):
        answer = world.ask(who, line.method, address, has_token=False, **sent(world, rule.endpoint))
        assert answer.status_code in (400, 404), answer.headers
        if answer.status_code == 404:  # who may not have it at all is told so, token or not
            assert line.statuses[who] == 404
        else:
            assert "Reload it and try again" in answer.get_data(as_text=True)


@pytest.mark.parametrize("line", UNSAFE, ids=str)
def test_a_made_up_form_token_is_none(world: World, line: Line):
    rule = rules(world)[line.method, line.rule]
    address = next(addresses(world, rule, "alice"))
    more = sent(world, rule.endpoint)
    more["headers"] = more.get("headers", {}) | {"X-CSRFToken": world.browsers["charlie"].token}
    assert world.ask("alice", line.method, address, **more).status_code == 400


@pytest.mark.parametrize("rule", sorted({line.rule for line in TABLE}))
def test_head_options_and_unknown_methods_are_answered(world: World, rule: str):
    known = {line.method: each for line, each in _lines(world) if line.rule == rule}
    example = next(iter(known.values()))
    address = next(addresses(world, example, "alice"))
    for method in ("HEAD", "OPTIONS"):
        answer = world.ask("alice", method, address)
        assert answer.status_code < 500 or rule == "/readyz", answer.status
        assert method == "OPTIONS" or answer.get_data() == b""
    allowed = {method for each in world.app.url_map.iter_rules() if each.rule == rule for method in each.methods or ()}
    for method in set(METHODS) - allowed:
        answer = world.ask("alice", method, address)
        assert answer.status_code in (404, 405), (method, answer.status)
        if rule.startswith("/api/"):
            assert set(answer.get_json()) == {"error", "message", "details"}


def sent(world: World, endpoint: str) -> dict[str, Any]:
    """Return what is sent; a form with a file is read to its end before its token is looked at, so it has one."""
    if endpoint == "videos.upload_file":
        return {"data": {"file": (io.BytesIO(b"a film"), "film.mp4")}, "content_type": "multipart/form-data"}
    return body(world, endpoint)


def _lines(world: World) -> list[tuple[Line, Rule]]:
    found = rules(world)
    return [(line, found[line.method, line.rule]) for line in TABLE]
