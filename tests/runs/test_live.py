"""Watching runs: the owner all of it, administrators the metadata, strangers nothing."""

import pytest
from websockets.exceptions import InvalidStatus

from app.engine.testing import drain
from tests.live.conftest import *  # noqa: F403


def refused(opened, browser, name) -> bool:
    try:
        with opened(browser, name):
            return False
    except InvalidStatus as error:
        return error.response.status_code == 404


def wait_for_part(ws, part) -> str:
    while part not in (message := ws.recv(timeout=20)):
        pass
    return message


@pytest.mark.parametrize(
    "topic_and_who",
    [
        ("run:{run}/page", "alice"),
        ("run:{run}/row", "alice"),
        ("run:{run}/meta-row", "root"),
        ("run:{run}/meta", "root"),
        ("runs:{alice}/list", "alice"),
    ],
)
def test_topics_are_for(opened, alice, root, topic_and_who, request):
    (name, who), make_run = topic_and_who, request.getfixturevalue("make_run")
    topic = name.format(run=make_run(alice).id, alice=alice.user.id)
    people = {"alice": alice, "root": root, "charlie": request.getfixturevalue("charlie")}
    allowed = {label for label in people if not refused(opened, people[label], topic)}
    assert allowed == set(who.split())


def test_a_run_is_watched_to_its_end(opened, alice, make_run):
    run = make_run(alice, done=False)
    with opened(alice, f"run:{run.id}/page", f"runs:{alice.user.id}/list") as ws:
        wait_for_part(ws, "No steps yet")
        drain()
        while "&#34;size&#34;: 11" not in (page := wait_for_part(ws, f"run-{run.id}")) or "Done" not in page:
            pass


def test_an_administrator_watches_metadata_only(opened, alice, root, make_run):
    run = make_run(alice, "broken")
    with opened(root, f"run:{run.id}/meta") as ws:
        page = wait_for_part(ws, "measure")
    assert "&lt;broke&gt;" not in page
    assert "&lt;b&gt;" not in page
    assert "Run again" not in page
