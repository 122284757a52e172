"""`throughline reprocess`: new embeddings from the command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app import cli
from app.embedded.errors import CannotStart
from app.engine import testing
from app.lib.ids import new_id
from app.videos import events
from app.videos import queries_transcript as queries
from tests.videos.talks import again, give_transcript, make_video


@pytest.fixture
def run(app, monkeypatch):
    monkeypatch.setattr(cli, "_in_app", app.app_context)

    def invoke(*arguments):
        result = CliRunner().invoke(cli.cli, ["reprocess", *map(str, arguments)])
        if isinstance(result.exception, CannotStart):
            return f"refused: {result.exception}"
        assert result.exception is None, result.exception
        return result.output

    return invoke


@pytest.fixture
def video(alice, models, tmp_path):
    made = make_video(alice.user, tmp_path)
    give_transcript(made, "The moon pulls on the sea.", model=models[1].model)
    return made


def test_all_of_a_persons_videos_are_embedded_again_when_forced(alice, run, video):
    (before,) = queries.list_chunks(video)
    before_id = before.id
    assert "all videos" in run("ALICE@example.org", "--force")
    testing.drain(advance=True)
    assert [chunk.id for chunk in queries.list_chunks(again(video))] != [before_id]


def test_named_videos_keep_what_they_have_unless_forced(alice, run, video):
    (before,) = queries.list_chunks(video)
    assert "1 video of" in run(alice.user.email, video.id)
    assert testing.assert_sent(events.BATCH_REPROCESS)["video_ids"] == [str(video.id)]
    testing.drain(advance=True)
    assert [chunk.id for chunk in queries.list_chunks(again(video))] == [before.id]


def test_nobody_and_nothing_are_said(alice, charlie, run, video):
    assert run("nobody@example.org").startswith("refused: There is no person with the address nobody@example.org")
    for odd in (new_id(), "x"):
        assert run(alice.user.email, odd).startswith("refused: ")
    assert "has no video" in run(charlie.user.email, video.id)
    assert testing.sent_events(events.BATCH_REPROCESS) == []
