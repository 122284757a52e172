"""Hints over RQ: disposable messages that wake a worker early. PostgreSQL alone knows what is to be done.

Hints have a connection pool of their own that gives up after 250 ms without a retry: with redis-py's defaults
a hung Redis blocks one enqueue for a minute.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from app.engine.runtime import logger

TIMEOUT = 0.25  # seconds
MOST_AT_ONCE = 16
MOST_WAITING = 64
RESULT_TTL = 3600  # seconds a finished hint shows on the dashboard
FAILURE_TTL = 7 * 86_400


def queue_name(namespace: str) -> str:
    """Return the name of the engine's queue."""
    return f"{namespace}-runs"


class Hints:
    """Puts hints for runs on the queue."""

    def __init__(self, redis_url: str, namespace: str) -> None:
        self.connection = redis.Redis.from_url(
            redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self.queue = Queue(queue_name(namespace), connection=self.connection, serializer=JSONSerializer)

    def give(self, runs: Iterable[tuple[str, str]]) -> None:
        """Give hints for at most sixteen runs (a hint's worker goes on with the others); never raises.

        A job is named after its run, so that the RQ dashboard says workflow and run.
        """
        jobs = [
            Queue.prepare_data(
                "app.engine.process.perform",
                args=(run_id,),
                timeout=-1,
                result_ttl=RESULT_TTL,
                failure_ttl=FAILURE_TTL,
                description=f"{workflow} {run_id}",
                job_id=f"{workflow}-{run_id}-{secrets.token_hex(2)}",
                meta={"workflow": workflow, "run_id": run_id},
            )
            for workflow, run_id in list(runs)[:MOST_AT_ONCE]
        ]
        try:
            if self.queue.count < MOST_WAITING:  # more would only be found done already
                self.queue.enqueue_many(jobs)
        except redis.RedisError as error:
            logger.warning("hint.lost", runs=len(jobs), error=type(error).__name__)
