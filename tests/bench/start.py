"""How long `throughline up` takes to its first page and to /readyz, against one bare start of the app."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from tests.house.conftest import ROOT, Instance, clean_environment, instance

PATIENCE_SECONDS = 120
APP = (
    "from app import create_app; from app.settings import Settings;"
    "create_app(Settings(database_url='postgresql:///none', redis_url='redis://127.0.0.1:1'))"
)


def main() -> None:
    """Print the table."""
    bare = _seconds(lambda: subprocess.run([sys.executable, "-c", APP], cwd=ROOT, env=clean_environment(), check=True))
    _row("one bare start of the app (baseline)", bare, bare)
    with instance(WEB_PROCESSES="2") as made:
        for words in ("cold", "warm"):
            page, ready = start(made)
            _row(f"{words} start to the first page", page, bare, "target 5 s" if words == "warm" else "")
            _row(f"{words} start to /readyz", ready, bare, "target 15 s" if words == "warm" else "")
            made.wait_until_ready()
            _row(f"stop after a {words} start", _seconds(made.stop), bare)


def start(made: Instance) -> tuple[float, float]:
    """Start and return the seconds to the first page and to /readyz."""
    began = time.monotonic()
    made.start()
    page = _until(lambda: made.get("/sign-in")[0] == 200, began)
    ready = _until(lambda: made.get("/readyz")[0] == 200, began)
    return page, ready


def _until(is_so: Callable[[], bool], began: float) -> float:
    while time.monotonic() - began < PATIENCE_SECONDS:
        try:
            if is_so():
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _row(what: str, seconds: float, bare: float, target: str = "") -> None:
    sys.stdout.write(f"{what:50} {seconds:7.2f} s   {seconds / bare:5.1f} x   {target}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
