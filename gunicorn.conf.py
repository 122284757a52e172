"""How gunicorn serves Throughline: `gunicorn -c gunicorn.conf.py wsgi:app` (or `throughline web`)."""

from __future__ import annotations

from typing import Any

from app.settings import Settings

_settings = Settings.from_environment()

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
worker_class = "gevent"  # one greenlet a connection: a live page costs kilobytes, not a thread
workers = _settings.web_processes
worker_connections = 5000
graceful_timeout = 25
control_socket_disable = True
errorlog = "-"
loglevel = "warning"
proc_name = "throughline-web"
# Whether a proxy in front is believed is decided in one place only: TRUSTED_PROXIES, by the app.
forwarded_allow_ips = ""


def post_worker_init(worker: Any) -> None:
    """Close live sockets as soon as this process is asked to go: browsers then connect to its successor at once."""
    from app import live

    # What gunicorn has to say of this process goes where all lines go, in their shape (app.log).
    worker.log.error_log.handlers.clear()
    worker.log.error_log.propagate = True
    live.close_when_stopping(worker)
