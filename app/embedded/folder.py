"""The data folder of one instance: its lock, its secret key, its free space, and what says who runs on it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from app.embedded import accounts
from app.embedded.errors import CannotStart, no_space

NEEDED_BYTES = 300_000_000
ELSEWHERE = Path("/var/lib/throughline-databases")


@dataclass
class DataFolder:
    """The folder named by THROUGHLINE_DATA."""

    path: Path
    _lock: IO[str] | None = field(default=None, init=False)

    def open(self) -> None:
        """Make the folder when it is missing, lock it for us, and check that it can be written.

        Raises:
            CannotStart: it cannot be made or written, another Throughline runs on it, or its disk is full.
        """
        try:
            if not self.path.exists():
                # Others may walk through (the service account must), but not list.
                self.path.mkdir(mode=0o711 if accounts.service_account() else 0o700, parents=True)
            self._take_lock()
            self._check_space()
            self.secret_key_file()
        except CannotStart:
            self.close()
            raise
        except OSError as error:
            self.close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise no_space(self.path) from error
            raise CannotStart(
                f"The data folder {self.path} cannot be used ({error.strerror}). "
                "Choose another with THROUGHLINE_DATA=/some/folder."
            ) from error

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def forget_running(self) -> None:
        """Say that nothing runs here any more."""
        self.running_file.unlink(missing_ok=True)

    def secret_key_file(self) -> Path:
        """Return the file that holds the secret key, made at the first start."""
        path = self.path / "secret_key"
        if not path.exists() or not path.read_text(encoding="utf-8").strip():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            partial.write_text(secrets.token_urlsafe(48) + "\n", encoding="utf-8")
            partial.replace(path)
        return path

    def services_folder(self) -> Path:
        """Return where PostgreSQL and Redis keep their files.

        Normally this folder. When we are root and the service account cannot come in here, a folder of ours under
        /var/lib, named in `services-folder`: permissions of a folder that we did not make are never changed.
        """
        note = self.path / "services-folder"
        if note.exists():
            return Path(note.read_text(encoding="utf-8").strip())
        if accounts.can_enter(self.path):
            return self.path
        elsewhere = ELSEWHERE / secrets.token_hex(8)
        elsewhere.mkdir(mode=0o711, parents=True)
        note.write_text(f"{elsewhere}\n", encoding="utf-8")
        return elsewhere

    @property
    def running_file(self) -> Path:
        """The file that says what runs here."""
        return self.path / "running.json"

    def write_running(self, running: dict[str, Any]) -> None:
        """Say what runs here, for other commands and for the start after a crash."""
        partial = self.running_file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # it holds the database's address
        partial.write_text(json.dumps(running, indent=1), encoding="utf-8")
        partial.replace(self.running_file)

    def read_running(self) -> dict[str, Any]:
        """Return what `write_running` said last; empty when nothing was said or it cannot be read."""
        try:
            found = json.loads(self.running_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def is_locked(self) -> bool:
        """Tell whether a Throughline runs on this folder now."""
        try:
            with (self.path / "throughline.lock").open("r+", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _take_lock(self) -> None:
        lock = (self.path / "throughline.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            lock.close()
            raise CannotStart(
                f"Throughline is already running on {self.path} (process {pid}). Stop that one first, "
                "or give this one a folder of its own with THROUGHLINE_DATA=/some/folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < NEEDED_BYTES:
            raise CannotStart(
                f"Only {free // 1_000_000} MB are free on the disk that holds {self.path}; Throughline needs at least "
                f"{NEEDED_BYTES // 1_000_000} MB to start. Free some space there, or choose another folder with "
                "THROUGHLINE_DATA=/some/folder."
            )
