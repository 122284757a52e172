"""The main job survives: its worker killed at every step, Redis emptied in mid-run, ten files against one."""

from __future__ import annotations

import collections
import signal
import subprocess

import pytest

from app.accounts import service as accounts
from app.db import db
from app.extensions import redis_client
from tests.crash.processes import wait_until
from tests.crash.product import Sandbox, cut_clip, open_runs, rows, start_worker

pytestmark = [pytest.mark.crash, pytest.mark.enable_socket, pytest.mark.timeout(400)]

STEPS_OF_THE_PIPELINE = {
    "transcribe-video": {"prepare", "extract-audio", "section[0]/piece", "section[0]/piece:1", "section[0]/align",
                         "save-transcript"},
    "generate-embeddings": {"chunk", "batch[0]/embed", "complete"},
    "describe-video": {"plan", "part[0]/read", "part[0]/outline", "save"},
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox():
    running = Sandbox("--slow-seconds", "1")
    yield running
    running.stop()


@pytest.fixture
def upload(app, samples, tmp_path, sandbox):
    """Upload a clip of a sample talk as somebody, through the API; returns the video's id."""
    sandbox.reset()
    keys = {}

    def do(email: str, talk: str = "tides.mp4", start: float = 0.0, seconds: float = 34.0, **form: str) -> str:
        if email not in keys:
            keys[email] = accounts.create_key(email, "test")
            db.session.commit()
        clip = cut_clip(samples / talk, tmp_path / f"clip-{start}-{seconds}.m4a", start, seconds)
        with clip.open("rb") as stream:
            answer = app.test_client().post(
                "/api/videos",
                data={"file": (stream, clip.name), **form},
                headers={"Authorization": f"Bearer {keys[email]}"},
            )
        assert answer.status_code == 201, answer.text
        return answer.json["id"]

    return do


def run_under_fire(settings, sandbox, kills, moments: str) -> set[str]:
    """Start workers, one after the other, until one of them is not killed any more; returns where they died."""
    kills.touch()
    while True:
        worker = start_worker(
            settings,
            sandbox,
            "tests.crash.pipeline_worker",
            TEST_KILLS=str(kills),
            TEST_MOMENTS=moments,
            RUN_THREADS="1",  # a second run, not the one that is killed on purpose, could be the victim six times: dead
        )
        try:
            wait_until(
                lambda running=worker: running.poll() is not None or not open_runs() or failed_runs(), seconds=60
            )
            assert failed_runs() == []
        finally:
            alive = worker.poll() is None
            worker.kill()
            worker.wait(10)
        if alive:
            return set(kills.read_text().splitlines())
        assert worker.returncode == -signal.SIGKILL, "the worker ended by itself"


def assert_all_is_well(video_id: str) -> None:
    assert open_runs() == []
    assert rows("SELECT status, error_message FROM video WHERE id = :id", id=video_id) == [
        {"status": "completed", "error_message": None}
    ]
    assert rows("SELECT count(*) AS n FROM transcript WHERE video_id = :id", id=video_id) == [{"n": 1}]
    chunks = rows("SELECT embedding IS NULL AS is_bare, is_served FROM chunk WHERE video_id = :id", id=video_id)
    assert chunks
    assert all(chunk["is_served"] and not chunk["is_bare"] for chunk in chunks)
    assert rows("SELECT count(*) AS n FROM mail") == [{"n": 1}], "one mail, and only one"


def failed_runs() -> list[dict]:
    return rows("SELECT workflow, error::text FROM run WHERE status IN ('failed', 'dead')")


def places(moment: str) -> set[str]:
    return {f"{moment} {workflow} {key}" for workflow, keys in STEPS_OF_THE_PIPELINE.items() for key in keys}


def test_a_worker_killed_after_every_commit_repeats_no_model_call(settings, upload, sandbox, tmp_path):
    video = upload("alice@example.org")
    died = run_under_fire(settings, sandbox, tmp_path / "kills", "committed")
    assert died >= places("committed"), died
    assert_all_is_well(video)
    made = collections.Counter((call["path"], call["content_hash"]) for call in sandbox.calls())
    assert len(made) >= 4, "two pieces, one batch of chunks and one outline"
    assert set(made.values()) == {1}, made
    metered = rows("SELECT kind, count(*) AS n FROM usage_entry GROUP BY kind ORDER BY kind")
    assert sum(entry["n"] for entry in metered) == len(made), metered


def test_a_worker_killed_in_the_middle_of_every_step_completes(settings, upload, sandbox, tmp_path):
    video = upload("alice@example.org")
    died = run_under_fire(settings, sandbox, tmp_path / "kills", "started,answered,worked")
    assert died >= places("started") | places("worked"), died
    assert_all_is_well(video)
    assert sum(place.startswith("answered") for place in died) == len(sandbox.calls()) >= 4, died
    metered = rows("SELECT quantity FROM usage_entry")
    assert len(metered) == len(sandbox.calls()), "no paid call was made twice"
    assert all(entry["quantity"] > 0 for entry in metered), "what was paid for is metered, though its process died"


def test_redis_flushed_in_mid_run_changes_nothing(settings, upload, sandbox):
    worker = start_worker(settings, sandbox, TRANSCRIPTION_MODEL="fault-slow")
    try:
        video = upload("alice@example.org", seconds=4.0)
        with redis_client(settings) as connection:
            for workflow in ("transcribe-video", "generate-embeddings"):
                wait_until(
                    lambda name=workflow: rows("SELECT 1 FROM run WHERE workflow = :name", name=name), seconds=60
                )
                connection.flushdb()
        wait_until(lambda: not open_runs(), seconds=60)
    finally:
        worker.terminate()
        worker.wait(30)
    assert_all_is_well(video)


def test_ten_files_of_one_person_do_not_starve_another(settings, upload, sandbox):
    for number in range(12):
        upload("alice@example.org", start=number * 2.0, seconds=1.0)
    upload("bob@example.org", "bread.mp4", seconds=1.0)
    most: collections.Counter[str] = collections.Counter()

    def look() -> bool:
        running = rows(
            'SELECT u.email, count(*) AS n FROM run r JOIN "user" u ON u.id = r.owner_id '
            "WHERE r.workflow = 'transcribe-video' AND r.status = 'running' GROUP BY u.email"
        )
        for row in running:
            most[row["email"]] = max(most[row["email"]], row["n"])
        return not open_runs()

    worker: subprocess.Popen = start_worker(settings, sandbox, TRANSCRIPTION_MODEL="fault-slow")
    try:
        wait_until(look, seconds=300)
    finally:
        worker.terminate()
        worker.wait(30)
    assert most["alice@example.org"] == 10
    begun = rows(
        'SELECT u.email FROM run r JOIN "user" u ON u.id = r.owner_id '
        "WHERE r.workflow = 'transcribe-video' ORDER BY r.started_at"
    )
    order = [row["email"] for row in begun]
    assert order[-1] == "alice@example.org", "the other person's file was sent last, and yet did not start last"
    assert rows("SELECT DISTINCT status FROM video") == [{"status": "completed"}]
