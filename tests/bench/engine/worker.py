"""Process: an engine worker as the product starts it, with the bench's workflows (`python -m tests.bench.engine.worker`)."""

from __future__ import annotations

import os
import sys

from app import create_app, engine
from app.settings import Settings
from tests.bench.engine.world import WORKFLOWS


def main() -> int:
    """Work until SIGTERM."""
    create_app(Settings.from_environment().but(workflows=WORKFLOWS, lease_seconds=float(os.environ["BENCH_LEASE"])))
    return engine.run_worker()


if __name__ == "__main__":
    sys.exit(main())
