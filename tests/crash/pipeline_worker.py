"""Process: a worker of the product that is killed once at every step it meets.

The file named in TEST_KILLS remembers where it was killed already, so that the next process gets past it.
`started` is before the step's work, `answered` after a paid call and before it is metered, `worked` after the work and
before the commit, `committed` right after it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from app import create_app, engine
from app.accounts import service as accounts
from app.accounts.service import asking
from app.engine import memory
from app.settings import Settings

_lock = threading.Lock()


def main() -> int:
    """Work until SIGTERM, or until the next step not met before."""
    kills = Path(os.environ["TEST_KILLS"])
    moments = os.environ["TEST_MOMENTS"].split(",")

    def die_once(moment: str, workflow: str, key: str) -> None:
        with _lock:
            place = f"{moment} {workflow} {key}"
            if moment not in moments or place in kills.read_text().splitlines():
                return
            with kills.open("a") as stream:
                stream.write(place + "\n")
            os.kill(os.getpid(), signal.SIGKILL)

    make, try_, commit = memory.make, memory._try, memory._commit
    names = {}

    def patched_make(execution, *arguments):
        names[str(execution.run.id)] = execution.workflow.name
        return make(execution, *arguments)

    def patched_try(draft, *work):
        die_once("started", draft.execution.workflow.name, draft.key)
        return try_(draft, *work)

    def patched_commit(memo):
        die_once("worked", names[str(memo.run_id)], memo.key)
        stored = commit(memo)
        die_once("committed", names[str(memo.run_id)], memo.key)
        return stored

    def patched_record(owner_id, **call):
        die_once("answered", call["kind"], call["step"])
        record(owner_id, **call)

    record = accounts.record_usage
    accounts.record_usage = asking.record_usage = patched_record
    memory.make, memory._try, memory._commit = patched_make, patched_try, patched_commit
    create_app(Settings.from_environment())
    return engine.run_worker()


if __name__ == "__main__":
    sys.exit(main())
