"""Run every measurement that is named, or all: `python -m tests.bench [engine engine.steps live page search start uploads]`.

A module of this folder has `main()`, which prints its table; what follows a dot is a part of that. Rates depend on the
machine; ratios hardly do.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Run the modules of this folder and print their tables."""
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name != "__main__"]
    parts: dict[str, list[str]] = {}
    for name, _, part in (each.partition(".") for each in wanted or found):
        parts.setdefault(name, []).extend([part] if part else [])
    unknown = set(parts) - set(found)
    if unknown:
        sys.stderr.write(f"No measurement is called {', '.join(sorted(unknown))}; there are {', '.join(found)}.\n")
        return 2
    crashed = False
    for name, of_it in parts.items():
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        try:
            importlib.import_module(f"tests.bench.{name}").main(*of_it)
        except Exception as error:  # noqa: BLE001  the others are worth measuring all the same
            traceback.print_exc()
            sys.stdout.write(f"{name} crashed: {type(error).__name__} {error}\n")
            crashed = True
    return int(crashed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
