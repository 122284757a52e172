"""Where people may be sent after signing in."""

from __future__ import annotations

import pytest

from app.lib.paths import own_path

OWN = [
    "/",
    "/account",
    "/videos/0198-a?t=12&q=a%20b",
    "/search?q=%2F%2Fevil",
    "/search?q=100%25",
    "/a/b#c",
    "/search?next=https://x.y",
]
FOREIGN = [
    None,
    "",
    "account",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "https://evil.example/",
    "HTTPS:evil.example",
    "http:/evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt://%0aalert(1)",
    "data:text/html,x",
    "/%2f/evil.example",
    "/%2Fevil.example",
    "/%5cevil.example",
    "/%5Cevil.example",
    "/%252fevil.example",
    "/%25252fevil.example",
    "/%09/evil.example",
    "/%00",
    "/x\x00",
    "/a//evil.example",
    "/.//evil.example",
    "/%2525252525252fevil",
    "/" + "a" * 3000,
    "@evil.example",
    ".evil.example",
]


@pytest.mark.parametrize("text", OWN)
def test_own_paths_are_kept(text):
    assert own_path(text) == text


@pytest.mark.parametrize("text", FOREIGN)
def test_everything_else_is_refused(text):
    assert own_path(text) is None


@pytest.mark.parametrize("text", [text for text in FOREIGN if text])
def test_nobody_is_sent_elsewhere(client, alice, text):
    assert alice.get("/sign-in", query_string={"next": text}).location == "/"
    assert 'name="next"' not in client.get("/sign-in", query_string={"next": text}).text
