"""Functions that children run in test_child.py: good, bad and hostile."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path


class Refused(Exception):
    code = "too-blue"


def double(number):
    sys.stdout.write("a library's chatter")
    return number * 2


def refuse():
    raise Refused("no blue files")


def spin():
    while True:
        pass


def hang(pid_file):
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file).write_text(str(grandchild.pid))
    time.sleep(600)


def swallow_memory():
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))


def crash():
    os.abort()


def babble():
    return "x" * 2_000_000


def fill_disk(path):
    with Path(path).open("wb") as file:
        while True:
            file.write(b"x" * (1 << 20))


def surroundings():
    with Path("/proc/self/status").open() as file:
        status = dict(line.split(":", 1) for line in file)
    return {
        "environment": dict(os.environ),
        "capabilities": int(status["CapEff"], 16),
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "knows_the_product": "app" in sys.modules,
    }


def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return "refused"
    return "connected"
