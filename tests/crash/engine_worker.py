"""Process: an engine worker with the crash tests' workflows (`python -m tests.crash.engine_worker`)."""

from __future__ import annotations

import os
import sys

from app import create_app, engine
from app.settings import Settings
from tests.crash import moments


def main() -> int:
    """Work until SIGTERM."""
    settings = Settings.from_environment().but(
        workflows=os.environ.get("TEST_WORKFLOWS", "tests.crash.engine_jobs"),
        lease_seconds=float(os.environ.get("TEST_LEASE", "2")),
        drain_seconds=float(os.environ.get("TEST_DRAIN", "25")),
    )
    create_app(settings)
    moments.arm()
    return engine.run_isolated() if "TEST_ISOLATED" in os.environ else engine.run_worker()


if __name__ == "__main__":
    sys.exit(main())
