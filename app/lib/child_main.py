"""The inside of a child (see child.py): take the limits, then load and call the function that was asked for.

Run as a script by an isolated interpreter; it imports nothing of the product, and nothing at all of the target
before every limit stands.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import resource
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CAPABILITY_VERSION_3 = 0x20080522
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Read the order from standard input, do it, write the answer to standard output."""
    order = json.load(sys.stdin)
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != order["parent"]:
        os._exit(1)  # the parent ended before the line above stood
    has_network = not _leave_network()
    _drop_privileges()
    _limit(order["limits"])
    answer = _answer(order) | {"has_network": has_network}
    with os.fdopen(answers, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    sys.stderr.flush()
    os._exit(0)  # some libraries hang or crash while they are torn down; the answer is written


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    try:
        module = _load(Path(order["target"]))
        inner, _, name = order["function"].rpartition(".")
        if inner:
            module = importlib.import_module(f"{module.__name__}.{inner}")
        return {"value": getattr(module, name)(**order["request"])}
    except BaseException as error:  # noqa: BLE001  (the child's wall: the parent is told whatever happened)
        kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
        code = getattr(error, "code", "") or getattr(error, "errno", None) or ""
        return {"raised": {"kind": kind, "code": str(code), "message": str(error)[:2000]}}


def _load(target: Path) -> ModuleType:
    is_package = target.is_dir()
    spec = importlib.util.spec_from_file_location(
        target.stem,
        target / "__init__.py" if is_package else target,
        submodule_search_locations=[str(target)] if is_package else None,
    )
    if spec is None or spec.loader is None:
        raise ImportError(str(target))
    module = importlib.util.module_from_spec(spec)
    sys.modules[target.stem] = module
    spec.loader.exec_module(module)
    return module


def _leave_network() -> bool:
    """Move into a network namespace without any interface; tell whether the system allowed it."""
    user, group = os.getuid(), os.getgid()
    if LIBC.unshare(CLONE_NEWNET) == 0:
        return True
    if LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):  # without a map the numbers look odd inside; the rights stay the same
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    return True


def _drop_privileges() -> None:
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    LIBC.capset(ctypes.byref(header), ctypes.byref(nothing))
    with contextlib.suppress(OSError):  # when the machine runs out of memory, the kernel takes this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit(limits: dict[str, Any]) -> None:
    cpu = int(limits["cpu_seconds"])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))
    resource.setrlimit(resource.RLIMIT_DATA, (limits["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits["open_files"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
