"""Process: import the workflows once, before what needs them is started, so that what is wrong there is one sentence.

`python -m app.embedded.workflows MODULE` says nothing when all is well. Without it every process that imports them
would crash with a traceback, and be started again, and crash.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path


def main(module: str) -> int:
    """Import `module`; say in a sentence what keeps it from being imported."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001  (whatever anybody's code raises while it is imported)
        sys.stdout.write(f"{sentence(module, error)}\n")
        return 1
    return 0


def sentence(module: str, error: Exception) -> str:
    """Return what is wrong, with the last place in the workflows' own files from which it came."""
    from app.engine import EngineError

    place = _place(module, error)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    what = said if isinstance(error, EngineError) else f"{type(error).__name__}: {said}"
    return f"The workflows cannot be loaded. {place}{what.strip()}\nMend that, then start Throughline again."


def fingerprint(root: Path, module: str) -> str:
    """Return what changes with any file of the code: what could be loaded with this one can be loaded again."""
    found = hashlib.sha256(sys.version.encode())
    for path in sorted(path for name in ("app", module) for path in (root / name).rglob("*.py")):
        stat = path.stat()
        found.update(f"{path.relative_to(root)} {stat.st_mtime_ns} {stat.st_size}\n".encode())
    return found.hexdigest()


def _place(module: str, error: Exception) -> str:
    spec = importlib.util.find_spec(module)
    folder = Path(spec.origin).parent if spec and spec.origin else Path.cwd()
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    ours = [(Path(name), line) for name, line in places if folder in Path(name).parents]
    if not ours:
        return ""
    path, line = ours[-1]
    return f"{path.relative_to(folder.parent)}, line {line}: "


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
