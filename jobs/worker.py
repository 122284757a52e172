"""Process: a worker. `python -m jobs.worker` runs until SIGTERM, then finishes the steps in hand and leaves."""

from __future__ import annotations

import sys

from app import create_app, engine


def main() -> int:
    """Load the app once and work."""
    create_app()
    return engine.run_worker()


if __name__ == "__main__":
    sys.exit(main())
