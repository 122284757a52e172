"""Measure what a watcher waits for: `python -m tests.bench page`.

From the end of a step's work in a worker process to that step standing as done in a real Chromium that shows the run's
page; so the step's commit, the news of it, the rendering and the swap are all in it. The baseline is a bare Redis
publish heard by a bare subscriber.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from app import create_app
from app.db import db
from app.engine import list_runs, list_steps, send
from app.settings import Settings
from tests import schema
from tests.bench.engine.world import WORKFLOWS, Worker, until
from tests.bench.live import bare, line
from tests.factories import make_user, sign_in
from tests.live.gunicorn import Gunicorn
from tests.services import Services, database_url, redis_url, run_sql

STEPS = 60
# Notes when each step is first seen as done.
WATCH = """() => { window.seen = {}; new MutationObserver(() => {
  for (const step of document.querySelectorAll(".run-step"))
    if (step.querySelector(".run-step-state").textContent.includes("Done"))
      window.seen[step.querySelector(".run-step-key").textContent] ??= Date.now() / 1000;
}).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""


def main() -> None:
    """Print the table."""
    path = shutil.which("chromium")
    if path is None:
        sys.stdout.write("Chromium is missing, so this is left out.\n")
        return
    services = Services()
    services.start()
    try:
        run_sql("CREATE DATABASE bench_page")
        schema.create(database_url("bench_page"))
        settings = Settings(
            environment="test",
            secret_key="bench-secret-key-of-thirty-two-characters",
            data_dir=Path(tempfile.mkdtemp()),
            database_url=database_url("bench_page"),
            redis_url=redis_url(0),
            redis_namespace="bench",
            log_level="error",
            workflows=WORKFLOWS,
        )
        app = create_app(settings)
        with app.app_context():
            _measure(app, settings, path)
    finally:
        services.stop()


def _measure(app: Any, settings: Settings, chromium: str) -> None:
    user = make_user("bench@example.org")
    cookie = sign_in(app.test_client(), user).get_cookie("session").value
    served, worker = Gunicorn(settings), Worker(settings, lease=30)
    served.start()
    try:
        baseline = bare(settings)
        line("bare Redis publish, heard", baseline, baseline)
        line("step finished to the page changed", _watch(chromium, served, user.id, cookie), baseline)
    finally:
        worker.stop()
        served.stop()


def _watch(chromium: str, served: Gunicorn, user_id: UUID, cookie: str) -> list[float]:
    from playwright.sync_api import sync_playwright

    send("bench/ticks", {"number": STEPS}, owner_id=user_id)
    db.session.commit()
    run = list_runs(workflow="bench-ticks", limit=1)[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=f"http://{served.address}")
        context.add_cookies([{"name": "session", "value": cookie, "url": f"http://{served.address}"}])
        page = context.new_page()
        page.goto(f"/runs/{run.id}")
        page.evaluate(WATCH)
        until(lambda: db.session.rollback() or list_runs(workflow="bench-ticks", status="completed"), 120)
        page.wait_for_function("last => last in window.seen", arg=f"tick-{STEPS - 1}")
        seen = page.evaluate("() => window.seen")
        browser.close()
    ended = {step.key: float(step.output) for step in list_steps(run.id)}
    # The first ones may have ended before the page was watched.
    return [seen[key] - at for key, at in ended.items() if key in seen and int(key.split("-")[1]) >= STEPS // 4]
