"""Process: the engine's timekeeping, and an hourly sweep. `python -m jobs.upkeep`; any number of them may run."""

from __future__ import annotations

import sys

from app import create_app, engine
from jobs import sweeping


def main() -> int:
    """Load the app once, keep time and sweep."""
    sweeping.start(create_app())
    return engine.run_upkeep()


if __name__ == "__main__":
    sys.exit(main())
