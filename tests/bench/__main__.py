"""Run every measurement that is named, or all: `python -m tests.bench [engine live page start uploads]`.

A module of this folder has `main()`, which prints its table. Rates depend on the machine; ratios hardly do.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the modules of this folder and print their tables."""
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name != "__main__"]
    unknown = set(names) - set(found)
    if unknown:
        sys.stderr.write(f"No measurement is called {', '.join(sorted(unknown))}; there are {', '.join(found)}.\n")
        return 2
    for name in names or found:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        importlib.import_module(f"tests.bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
