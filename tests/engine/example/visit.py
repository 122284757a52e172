"""Process: one visit to the shop, from an empty database to a parcel, where nothing of the product can be imported.

`python -m tests.engine.example.visit DATABASE_URL drain|worker`; its last line is what happened, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib.machinery import ModuleSpec


class Wall:
    """Refuses to import what an engine on its own must not need."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        parts = name.split(".")
        if parts[0] in ("flask", "flask_sqlalchemy", "jobs") or (
            parts[0] == "app" and parts[1:2] not in ([], ["engine"], ["lib"])
        ):
            raise ImportError(f"{name} is none of the engine's business.")
        return None


def visit(database_url: str, how: str) -> dict[str, object]:
    """Order a kettle, and let the engine work until it is sold."""
    from app.engine import On, list_runs, run_worker, send, workflow
    from app.engine.testing import drain, sent_events
    from tests.engine.example import shop

    @workflow("close", on=On("run/completed", if_="event.data.workflow == 'sell'"))
    def close(_ctx, step):
        step.run("send-the-worker-home", os.kill, os.getpid(), signal.SIGTERM)

    session = shop.open_shop(database_url)
    session.execute(shop.stock.insert().values(item="kettle", left=3))
    send("shop/ordered", {"item": "kettle", "collected_in": "1d" if how == "drain" else "0.1s"}, owner_id=None)
    refused = outside_call()
    session.commit()
    if how == "worker":
        run_worker()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        drain(advance=True)
    run = list_runs(workflow="sell")[0]
    modules = sorted(name for name in sys.modules if name.split(".")[0] in ("app", "jobs", "flask"))
    sold = len(sent_events("shop/sold"))
    return {"status": run.status, "output": run.output, "sold": sold, "refused": refused, "modules": modules}


def outside_call() -> str:
    """Try what an adapter does before it calls outside; returns why not."""
    from app.engine import OutsideCallRefused
    from app.lib.outside import before_outside_call

    try:
        before_outside_call()
    except OutsideCallRefused as error:
        return str(error)
    return ""


def main() -> None:
    sys.meta_path.insert(0, Wall())
    sys.stdout.write(json.dumps(visit(*sys.argv[1:])) + "\n")


if __name__ == "__main__":
    main()
