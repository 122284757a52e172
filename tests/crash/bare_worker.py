"""Process: a worker of the engine alone, with the workflows of TEST_JOBS (`python -m tests.crash.bare_worker`)."""

from __future__ import annotations

import importlib
import logging
import os
import sys

import structlog

from app import engine
from tests.crash import moments
from tests.crash.bare import make_app

PLAIN = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
)


def main() -> int:
    """Work until SIGTERM."""
    level = logging.getLevelNamesMapping()[os.environ.get("LOG_LEVEL", "info").upper()]
    structlog.configure(processors=PLAIN, wrapper_class=structlog.make_filtering_bound_logger(level))
    make_app(
        os.environ["DATABASE_URL"],
        os.environ["REDIS_URL"],
        float(os.environ["TEST_LEASE"]),
        namespace=os.environ["REDIS_NAMESPACE"],
    )
    importlib.import_module(os.environ["TEST_JOBS"])
    moments.arm()
    moments.widen(float(os.environ.get("TEST_WIDEN", "0")))
    return engine.run_worker()


if __name__ == "__main__":
    sys.exit(main())
