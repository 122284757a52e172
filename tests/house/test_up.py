"""`throughline up`: one command, everything runs; one signal, everything is gone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.house.conftest import ROOT, Instance

pytestmark = pytest.mark.timeout(180)


def test_it_prints_its_address_and_answers_there(running):
    assert f"http://127.0.0.1:{running.port}" in running.wait_for("is ready")
    assert running.get("/healthz") == (200, '{"status":"ok"}\n')
    assert running.get("/health")[0] == 200


def test_the_secret_key_is_made_once_and_nobody_else_may_read_it(running):
    key = running.data / "secret_key"
    assert len(key.read_text().strip()) >= 32
    assert key.stat().st_mode & 0o077 == 0
    assert (running.data / "running.json").stat().st_mode & 0o077 == 0


def test_a_second_start_on_the_same_folder_is_refused_with_a_sentence(running):
    second = Instance(running.data)
    done = second.run("up")
    assert done.returncode == 1
    assert f"already running on {running.data}" in done.stderr
    assert "Traceback" not in done.stderr
    assert running.get("/healthz")[0] == 200


def test_a_taken_port_is_refused_with_a_sentence(running, fresh):
    fresh.port = running.port
    done = fresh.run("up")
    assert done.returncode == 1
    assert f"Port {running.port} is used by another program" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_stops_everything_and_the_next_start_keeps_the_data(fresh):
    fresh.start().wait_until_ready()
    key = (fresh.data / "secret_key").read_text()
    database = fresh.running()["environment"]["DATABASE_URL"]
    _sql(database, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('still here')")
    _stops_without_a_trace(fresh, signal.SIGINT)
    fresh.start().wait_until_ready()
    assert (fresh.data / "secret_key").read_text() == key
    assert _sql(database, "SELECT word FROM kept") == [("still here",)]
    _stops_without_a_trace(fresh, signal.SIGTERM)


def _stops_without_a_trace(instance, sign) -> None:
    processes = instance.processes()
    names = ""
    for process in processes:
        with contextlib.suppress(psutil.Error):  # a backend that served one query may have gone again
            names += " ".join(process.cmdline()) + " "
    for part in ("pgdata", "redis-server", "gunicorn", "app.sandbox", "jobs.worker", "jobs.upkeep"):
        assert part in names
    assert instance.stop(sign) == 0
    _, alive = psutil.wait_procs(processes, 5)
    assert not alive
    assert not (instance.data / "running.json").exists()


def _sql(url: str, *statements: str) -> list[tuple]:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_readyz_says_ready_when_database_redis_migrations_and_a_worker_are_there(running):
    running.wait_until_ready()
    deadline = time.monotonic() + 30
    while (answer := running.get("/readyz"))[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert json.loads(answer[1]) == {"status": "ready", "missing": {}}


def test_the_self_test_says_ok_of_every_part(running):
    deadline = time.monotonic() + 30  # the parts have been started, but upkeep may still be in its first pass
    while (done := running.run("check")).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("database", "migrations", "Redis", "worker", "upkeep", "storage", "media", "models")
    ]


def test_a_key_made_while_it_runs_is_printed_alone_and_opens_the_api(running):
    done = running.run("key", "create", "newcomer@example.org")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\S{20,}\n", done.stdout)


def test_a_key_asked_for_while_nothing_runs_is_refused_with_a_sentence(fresh):
    done = fresh.run("key", "create", "newcomer@example.org")
    assert done.returncode == 1
    assert "no Throughline is running" in done.stderr
    assert not done.stdout


def test_the_sign_in_link_is_printed(running):
    link = running.wait_for("Sign in as administrator").split()[-1]
    assert link.startswith(f"http://127.0.0.1:{running.port}/sign-in/")
    assert running.get(link.removeprefix(f"http://127.0.0.1:{running.port}"))[0] == 200


def test_the_parts_run_alone_beside_it_and_stop_when_asked(running):
    """As on other machines; what is not set they take from what runs on the same folder."""
    running.wait_until_ready()
    second, database = Instance(running.data), running.running()["environment"]["DATABASE_URL"]
    parts = [
        subprocess.Popen([sys.executable, "-m", "app.cli", name], cwd=ROOT, env=second.environment)
        for name in ("web", "worker", "upkeep")
    ]
    try:
        _until(lambda: second.get("/sign-in")[0] == 200)
        _until(lambda: _known(database, "worker", parts[1].pid) and _known(database, "upkeep", parts[2].pid))
    finally:
        for part in parts:
            part.terminate()
        assert [part.wait(60) for part in parts] == [0, 0, 0]
    assert running.get("/healthz")[0] == 200


def _known(database: str, kind: str, pid: int) -> bool:
    return bool(_sql(database, f"SELECT 1 FROM worker WHERE kind = '{kind}' AND pid = {pid}"))


def _until(is_so, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if is_so():
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_workflows_that_cannot_be_loaded_are_one_sentence_and_nothing_is_started_twice(tmp_path, fresh):
    clone = tmp_path / "clone"
    for name in ("app", "jobs", "migrations"):
        shutil.copytree(ROOT / name, clone / name)
    (clone / "jobs" / "__init__.py").write_text("from jobs import late\n")
    (clone / "jobs" / "late.py").write_text(LATE)
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "up"],
        cwd=clone, env=fresh.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    place = "throughline: The workflows cannot be loaded. jobs/late.py, line 4: "
    what = "Workflow 'late': cron: '61 * * * *' is no cron expression: '61' is no minute"
    [why, advice] = done.stderr.splitlines()
    assert why.startswith(place + what)
    assert advice == "Mend that, then start Throughline again."
    assert "crashed" not in done.stdout
    assert "is ready" not in done.stdout


def test_the_workflows_are_tried_again_only_when_the_code_has_changed(tmp_path):
    from app.embedded import workflows

    for name in ("app", "jobs"):
        (tmp_path / name).mkdir()
    code = tmp_path / "jobs" / "bread.py"
    code.write_text("x = 1")
    before = workflows.fingerprint(tmp_path, "jobs")
    assert workflows.fingerprint(tmp_path, "jobs") == before
    code.write_text("x = 10")
    assert workflows.fingerprint(tmp_path, "jobs") != before


LATE = """from app.engine import workflow


@workflow("late", cron="61 * * * *")
def late(ctx, step):
    pass
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import throughline_nowhere\n", "line 1: ModuleNotFoundError: No module named 'throughline_nowhere'"),
        ("x = 1\ndef broken(:\n", "line 2: SyntaxError: invalid syntax"),
    ],
)
def test_any_other_error_of_loading_names_its_file_and_line(tmp_path, code, says):
    (tmp_path / "talks.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "app.embedded.workflows", "talks"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"talks.py, {says}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
