"""Environments for the peers, made on first use in `.bench` of this folder: nothing of them is in our lock files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.engine.world import ROOT

FOLDER = ROOT / ".bench"
DBOS = ("dbos==3.4.0",)
RESTATE_SDK = ("restate_sdk[serde]==1.3.0", "hypercorn==0.18.0")
RESTATE_SERVER = "@restatedev/restate-server@1.7.12"
PATIENCE_SECONDS = 300


class CannotInstall(Exception):
    """A peer is not to be had here; the message says why."""


def dbos() -> Path:
    """Return a Python that has DBOS Transact."""
    return _python("dbos", DBOS)


def restate_sdk() -> Path:
    """Return a Python that has Restate's SDK and the server its documentation recommends."""
    return _python("restate", RESTATE_SDK)


def restate_server() -> Path:
    """Return Restate's server, a program of its own."""
    folder = FOLDER / "restate-server"
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("there is no npm")
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    _once(folder, RESTATE_SERVER, command=command)
    found = list(folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        raise CannotInstall("its npm package has no program for this machine")
    return found[0]


def _python(name: str, packages: tuple[str, ...]) -> Path:
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _once(folder, *packages, command=pip)
    return python


def _once(folder: Path, *packages: str, command: list[str]) -> None:
    """Install `packages` unless a note says that exactly these are there."""
    note = folder / "installed.txt"
    wanted = "\n".join(packages)
    if note.exists() and note.read_text() == wanted:
        return
    sys.stdout.write(f"(installing {', '.join(packages)} into {folder.relative_to(ROOT)}, once)\n")
    sys.stdout.flush()
    folder.mkdir(parents=True, exist_ok=True)
    _run([*command, *packages])
    note.write_text(wanted)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{Path(command[0]).name} took over {PATIENCE_SECONDS} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotInstall(said[-1] if said else f"{Path(command[0]).name} failed")
