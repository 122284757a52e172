"""The RQ dashboard at /admin/rq, for administrators: what is on the queue beneath the engine.

rq-dashboard 0.9 was written for RQ 2 and pickled jobs, with one Redis address a request and no users. Its names are
replaced here by ours where it would fail with RQ 3 and JSON; what is asked of it is checked before it sees it.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import redis
from flask import Blueprint, Flask, Response, current_app, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, requeue_job
from rq.serializers import JSONSerializer

from app import log
from app.errors import Conflict, NotFound, Transient, Unauthenticated
from app.extensions import redis_client
from app.ui import asset
from app.web import error_response, settings

logger = log.get(__name__)

PREFIX = "/admin/rq"
REGISTRIES = ("queued", "failed", "deferred", "started", "finished", "canceled", "scheduled")
MAX_PER_PAGE = 200
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")  # RQ refuses other ids with a ValueError

# Its pages carry their script inline and build them from templates that are compiled in the browser.
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class _Text(str):
    """A text that also answers `decode`, which rq-dashboard still calls on the ids of dependencies."""

    __slots__ = ()

    def decode(self, *_: str) -> str:
        """Return the text itself."""
        return str(self)


class _Job(Job):
    """A job whose data is JSON."""

    @property
    def dependency_ids(self) -> list[str]:
        return [_Text(job_id) for job_id in super().dependency_ids]

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> Any:  # noqa: A002
        return super().fetch(id, connection=connection, serializer=serializer or JSONSerializer)


class _Workers(Worker):
    """Workers whose jobs' data is JSON."""

    @classmethod
    def all(cls, *args: Any, **more: Any) -> Any:
        return Worker.all(*args, **{"serializer": JSONSerializer, **more})


class _Queue(Queue):
    """A queue that may be compacted also when it is empty."""

    def compact(self) -> None:
        try:
            super().compact()  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:  # it renames the queue's list, and an empty one has none
            if "no such key" not in str(error):
                raise


def mount(app: Flask) -> None:
    """Put the dashboard under its address."""
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("Redis",)  # only shown: the connection is ours
    app.register_blueprint(_blueprint(), url_prefix=PREFIX)


@functools.cache  # the library has one blueprint for the whole process
def _blueprint() -> Blueprint:
    from rq_dashboard import web

    web.config.serializer = JSONSerializer
    web.Job, web.Queue, web.Worker = _Job, _Queue, _Workers
    web.requeue_job = functools.partial(requeue_job, serializer=JSONSerializer)
    blueprint: Blueprint = web.blueprint
    blueprint.before_request_funcs[None] = []  # it would open a new connection pool for every request
    blueprint.before_request(_guard)
    blueprint.after_request(_finish)
    blueprint.register_error_handler(NoSuchJobError, lambda _error: error_response(NotFound()))
    blueprint.register_error_handler(InvalidJobOperation, lambda _error: error_response(Conflict(_NOT_FAILED)))
    blueprint.register_error_handler(redis.RedisError, _on_redis_error)
    return blueprint


_NOT_FAILED = "Only a failed job can be queued again. Reload the page to see its state now."


def _guard() -> None:
    """Let administrators in, refuse addresses it cannot cope with, give it its connection.

    Raises:
        Unauthenticated: nobody is signed in.
        NotFound: not an administrator, or no such page.
    """
    if not current_user.is_authenticated:
        raise Unauthenticated
    if not current_user.is_admin or not _is_possible(request.view_args or {}):
        raise NotFound
    if request.endpoint == "rq_dashboard.requeue_all" and request.method != "POST":
        raise NotFound("Queueing everything again takes a button, not a link.")
    current_app.redis_conn = _connection()  # type: ignore[attr-defined]
    if request.endpoint == "rq_dashboard.delete_job_view" and not _has_job((request.view_args or {})["job_id"]):
        raise NotFound  # it would say that it deleted what was never there


def _is_possible(args: dict[str, Any]) -> bool:
    pages = (str(args.get(name, 1)) for name in ("page", "per_page"))
    return (
        args.get("instance_number", 0) == 0
        and args.get("registry_name", "queued") in REGISTRIES
        and args.get("order", "asc") in ("asc", "dsc")
        and _JOB_ID.fullmatch(args.get("job_id", "any")) is not None
        and all(page.isascii() and page.isdigit() and len(page) < 7 and int(page) > 0 for page in pages)  # noqa: PLR2004
        and int(args.get("per_page") or 1) <= MAX_PER_PAGE
    )


def _has_job(job_id: str) -> bool:
    return bool(Job.exists(job_id, connection=_connection()))


def _connection() -> redis.Redis:
    key = "throughline.rq_dashboard"
    if key not in current_app.extensions:
        current_app.extensions[key] = redis_client(settings())
    found: redis.Redis = current_app.extensions[key]
    return found


def _finish(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CSP
    if response.mimetype == "text/html" and not response.is_streamed:
        response.set_data(_framed(response.get_data(as_text=True)))
    if request.endpoint != "rq_dashboard.static":
        # Its script sends this cookie's value as the form token with every POST.
        response.set_cookie(
            "_csrf_token",
            generate_csrf(),
            path=PREFIX,
            samesite="Strict",
            secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        )
    return response


def _framed(page: str) -> str:
    """Give a page of the library our icon (it names one that we do not have), our style and the way back."""
    style = f'<link rel="stylesheet" href="{asset("runs/rq.css")}">'
    back = f'<a class="back-home" href="{url_for("runs.index")}">Back to the runs</a>'
    page = page.replace(url_for("static", filename="favicon.ico"), asset("favicon.svg"), 1)
    return page.replace("</head>", f"{style}</head>", 1).replace("<body>", f"<body>{back}", 1)


def _on_redis_error(error: redis.RedisError) -> ResponseReturnValue:
    logger.warning("rq_dashboard.redis_away", error=type(error).__name__)
    return error_response(Transient("Redis does not answer. The runs go on without it; reload this page later."))
