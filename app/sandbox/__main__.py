"""`python -m app.sandbox --port 8100`: serve the sandbox until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from types import FrameType

from werkzeug.serving import make_server

from app.sandbox.server import create_sandbox


def main() -> None:
    """Read the arguments and serve; each request has a thread of its own."""
    parser = argparse.ArgumentParser(prog="app.sandbox", description="A local model server with OpenAI's HTTP API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100, help="0 takes a free port")
    parser.add_argument("--processes", type=int, default=None, help="recognitions at once (default: the cores)")
    parser.add_argument("--slow-seconds", type=float, default=30.0, help="how long the model fault-slow waits")
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = create_sandbox(processes=arguments.processes, slow_seconds=arguments.slow_seconds)
    server = make_server(arguments.host, arguments.port, app, threaded=True)
    signal.signal(signal.SIGTERM, _leave)
    sys.stdout.write(f"sandbox listening on http://{arguments.host}:{server.server_port}/v1\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except (KeyboardInterrupt, SystemExit):
        server.server_close()
    finally:
        app.extensions["sandbox"].recognition.close()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
