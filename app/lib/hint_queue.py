"""Hints over RQ: disposable jobs that wake a worker early. They may be lost: whoever gives them looks after the work.

They have a connection pool of their own that gives up after 250 ms without a retry: with redis-py's defaults a hung
Redis blocks one enqueue for a minute.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, get_current_job
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer

TIMEOUT = 0.25  # seconds
MOST_WAITING = 64
RESULT_TTL = 3600  # seconds a finished hint shows on the dashboard
FAILURE_TTL = 7 * 86_400
MOST_FAILED = 1000  # failed jobs that the dashboard keeps


@dataclass(frozen=True)
class Hint:
    """A job of `function` (its path) with `args`, all JSON; a job's id is its name and a few characters."""

    function: str
    args: tuple[str, ...]
    name: str
    description: str
    meta: dict[str, str]

    def job(self, key: str) -> dict[str, Any]:
        """Return what RQ makes the job of; `key` is what it calls an id there."""
        job_id = f"{self.name}-{secrets.token_hex(2)}"
        times = {"timeout": -1, "failure_ttl": FAILURE_TTL}
        return {key: job_id, "args": self.args, "description": self.description, "meta": self.meta, **times}


def connect(redis_url: str) -> redis.Redis:
    """Return a Redis that answers at once, or not at all."""
    retry = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=retry)


class HintQueue:
    """One queue of hints. What goes wrong, `logger` (of structlog) hears; nothing is raised."""

    def __init__(self, connection: redis.Redis, name: str, logger: Any) -> None:
        self.name = name
        self._connection, self._logger = connection, logger
        self._queue = Queue(name, connection=connection, serializer=JSONSerializer)
        self._failed = FailedJobRegistry(queue=self._queue)
        self._too_many: list[str] = []

    def give(self, hints: Sequence[Hint]) -> None:
        """Put hints on the queue, unless many wait there: more would only be found done already."""
        try:
            if hints and self._queue.count < MOST_WAITING:
                prepared = [
                    Queue.prepare_data(hint.function, result_ttl=RESULT_TTL, **hint.job("job_id")) for hint in hints
                ]
                self._queue.enqueue_many(prepared)
        except redis.RedisError as error:
            self._logger.warning("hint.lost", hints=len(hints), error=type(error).__name__)

    def show_failed(self, hint: Hint, why: str) -> None:
        """Show as a failed job what failed without a job of its own, in one round trip.

        The oldest of more than a thousand give way (what is too many is known after a round trip, and goes with the
        next one).
        """
        how: dict[str, Any] = {"connection": self._connection, "serializer": JSONSerializer, "origin": self.name}
        job = Job.create(hint.function, status=JobStatus.FAILED, **how, **hint.job("id"))
        try:
            with self._connection.pipeline(transaction=False) as pipeline:
                if self._too_many:
                    pipeline.delete(*map(Job.key_for, self._too_many), *map(Result.get_key, self._too_many))
                    pipeline.zrem(self._failed.key, *self._too_many)
                job.save(pipeline=pipeline)
                self._failed.add(job, ttl=FAILURE_TTL, pipeline=pipeline)
                Result.create_failure(job, FAILURE_TTL, why, pipeline=pipeline)
                pipeline.zrange(self._failed.key, 0, -MOST_FAILED - 1)
                self._too_many = [job_id.decode() for job_id in pipeline.execute()[-1]]
        except redis.RedisError as error:
            self._logger.warning("hint.failure_not_shown", hint=hint.description, error=type(error).__name__)


def note(name: str, value: Any, logger: Any) -> None:
    """Note something (JSON) on the job that this thread performs, if it does; never raises."""
    job = get_current_job()
    if job is None:
        return
    job.meta[name] = value
    try:
        job.save_meta()  # type: ignore[no-untyped-call]
    except redis.RedisError as error:
        logger.warning("hint.not_noted", job=job.id, error=type(error).__name__)
