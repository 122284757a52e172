"""A loopback server with the one endpoint of Resend that we use, and its memory of idempotency keys."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeResend:
    """Counts what it delivered. `answer_with` holds (status, name, headers) to give instead, once each."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.delivered: list[dict[str, Any]] = []
        self.answer_with: list[tuple[int, str, dict[str, str]]] = []
        self.let_go = threading.Event()
        self.is_slow = False
        self._keys: dict[str, tuple[str, str]] = {}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer, headers = fake.take(dict(self.headers), self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, headers: dict[str, str], path: str, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        message = json.loads(body)
        self.requests.append({"headers": headers, "path": path, "message": message})
        if self.is_slow:
            self.let_go.wait(20)
        if self.answer_with:
            status, name, extra = self.answer_with.pop(0)
            return status, {"statusCode": status, "name": name, "message": "no"}, extra
        key = headers.get("Idempotency-Key", "")
        if key in self._keys:
            known, given = self._keys[key]
            if known != body.decode():
                return 409, {"statusCode": 409, "name": "invalid_idempotent_request", "message": "differs"}, {}
            return 200, {"id": given}, {}
        given = f"mail-{len(self.delivered) + 1}"
        self._keys[key] = (body.decode(), given)
        self.delivered.append(message)
        return 200, {"id": given}, {}

    def stop(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
