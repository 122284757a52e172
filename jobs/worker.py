"""Process: a worker. `python -m jobs.worker` runs until SIGTERM, then finishes the steps in hand and leaves.

With `--isolated` it runs only the isolated workflows, each run in a process of its own; without, the others, and a
worker of the isolated ones beside it (ISOLATED_PROCESSES=0: none).
"""

from __future__ import annotations

import sys

from app import create_app, engine


def main() -> int:
    """Load the app once and work."""
    create_app()
    return engine.run_isolated() if "--isolated" in sys.argv[1:] else engine.run_worker()


if __name__ == "__main__":
    sys.exit(main())
