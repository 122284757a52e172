"""Which operating-system account runs the embedded services (PostgreSQL refuses to run as root)."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TypedDict


class Identity(TypedDict, total=False):
    """The keyword arguments of subprocess.Popen that change the account."""

    user: int
    group: int
    extra_groups: list[int]


def service_account() -> pwd.struct_passwd | None:
    """Return the unprivileged account to use when we are root, else None (our own account will do)."""
    if os.geteuid() != 0:
        return None
    for name in ("throughline", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def popen_identity() -> Identity:
    """Return the keyword arguments that make subprocess.Popen drop to that account."""
    account = service_account()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Hand a folder or file that we made to the service account."""
    account = service_account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def can_enter(folder: Path) -> bool:
    """Tell whether the service account can walk down to `folder` (without changing any permission)."""
    account = service_account()
    if account is None:
        return os.access(folder, os.X_OK)
    return all(_may_search(step, account) for step in (folder.resolve(), *folder.resolve().parents))


def is_reachable(path: Path) -> bool:
    """Tell whether the service account can walk to `path` and read it (without changing any permission)."""
    if service_account() is None:
        return os.access(path, os.R_OK | os.X_OK)
    return can_enter(path.parent) and path.stat().st_mode & 0o005 == 0o005  # noqa: PLR2004


def _may_search(folder: Path, account: pwd.struct_passwd) -> bool:
    status = folder.stat()
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
