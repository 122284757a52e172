"""Measure live updates: `python -m tests.bench live`.

From a commit to the socket and to the changed page in a real Chromium (when there is one), the fan-out of one change to
many sockets, and what an idle socket costs in memory; one gunicorn worker with gevent, as in production. The baseline is
a bare Redis publish heard by a bare subscriber.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from websockets.asyncio.client import connect

from app import create_app, live
from app.accounts.models import User
from app.db import db
from app.extensions import redis_client
from app.settings import Settings
from tests import schema
from tests.factories import make_user, sign_in
from tests.live.gunicorn import Gunicorn
from tests.services import Services, database_url, redis_url, run_sql

CHANGES = 100
SOCKETS = (1, 100, 1000)
PAUSE = 0.12  # longer than the time within which changes are put together


def main() -> None:
    """Print the table."""
    services = Services()
    services.start()
    try:
        run_sql("CREATE DATABASE bench")
        schema.create(database_url("bench"))
        _measure(
            Settings(
                environment="test",
                secret_key="bench-secret-key-of-thirty-two-characters",
                data_dir=Path(tempfile.mkdtemp()),
                database_url=database_url("bench"),
                redis_url=redis_url(0),
                redis_namespace="bench",
                log_level="error",
            )
        )
    finally:
        services.stop()


def _measure(settings: Settings) -> None:
    app = create_app(settings)
    served = Gunicorn(settings)
    served.start()
    try:
        with app.app_context():
            user = make_user("bench@example.org")
            browser = sign_in(app.test_client(), user)
            cookie = browser.get_cookie("session").value
            baseline = bare(settings)
            line("bare Redis publish, heard", baseline, baseline)
            for number in SOCKETS:
                last, grown = asyncio.run(_fan_out(served, user, cookie, number))
                line(f"commit to the last of {number} sockets", last, baseline)
                if number > 1:
                    sys.stdout.write(f"{'  memory of each socket':38s} {grown / number / 1024:8.0f} KiB\n")
            if path := shutil.which("chromium"):
                line("commit to the page changed in Chromium", _page(path, served, user, cookie), baseline)
    finally:
        served.stop()


def line(what: str, times: list[float], baseline: list[float]) -> None:
    """Print the median and the 95th percentile of `times` (seconds), and how many times the baseline the first is."""
    ordered = sorted(times)
    p50, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    ratio = p50 / statistics.median(baseline)
    sys.stdout.write(f"{what:38s} p50 {p50 * 1000:7.1f} ms  p95 {p95 * 1000:7.1f} ms  {ratio:6.1f} x bare\n")
    sys.stdout.flush()


def bare(settings: Settings) -> list[float]:
    """Return the seconds that bare Redis messages take."""
    times = []
    with redis_client(settings, blocks=True) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe("bare")
        heard.get_message(timeout=1)
        for _ in range(CHANGES):
            began = time.perf_counter()
            client.publish("bare", "x")
            while heard.get_message(timeout=1) is None:
                pass
            times.append(time.perf_counter() - began)
    return times


def _rename(user: User, name: str) -> None:
    user.name = name
    live.touch(f"who:{user.id}")
    db.session.commit()


def _memory(served: Gunicorn) -> int:
    return sum(child.memory_info().rss for child in psutil.Process(served.process.pid).children())


async def _fan_out(served: Gunicorn, user: User, cookie: str, number: int) -> tuple[list[float], int]:
    before, sockets = _memory(served), []
    url = f"ws://{served.address}/live?topics=who:{user.id}/card"
    for _ in range(number):
        headers = {"Cookie": f"session={cookie}"}
        ws = await connect(
            url, origin=f"http://{served.address}", additional_headers=headers, compression=None, ping_interval=None
        )
        await ws.recv()
        sockets.append(ws)
    await asyncio.sleep(1)
    grown = _memory(served) - before
    times = []
    for change in range(20 if number > 1 else CHANGES):
        await asyncio.sleep(PAUSE)
        name = f"{number}-{change}"
        began = time.perf_counter()
        _rename(user, name)
        await asyncio.gather(*(_until(ws, name) for ws in sockets))
        times.append(time.perf_counter() - began)
    await asyncio.gather(*(ws.close() for ws in sockets))
    return times, grown


async def _until(ws: object, name: str) -> None:
    while f">{name}<" not in await ws.recv():
        pass


def _page(chromium: str, served: Gunicorn, user: User, cookie: str) -> list[float]:
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=f"http://{served.address}")
        context.add_cookies([{"name": "session", "value": cookie, "url": f"http://{served.address}"}])
        page = context.new_page()
        page.goto(f"/who/{user.id}")
        page.evaluate(
            """() => { window.seen = {}; new MutationObserver(() => {
                 window.seen[document.querySelector('#who-name').textContent] ??= Date.now() / 1000;
               }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
        )
        for change in range(CHANGES):
            time.sleep(PAUSE)
            name = f"page-{change}"
            _rename(user, name)
            began = time.time()
            page.wait_for_function("name => name in window.seen", arg=name)
            times.append(max(page.evaluate("name => window.seen[name]", name) - began, 0.0))
        browser.close()
    return times
