"""Hints over RQ: disposable messages that wake a worker early. PostgreSQL alone knows what is to be done.

Hints have a connection pool of their own that gives up after 250 ms without a retry: with redis-py's defaults
a hung Redis blocks one enqueue for a minute.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, get_current_job
from rq.job import Job, JobStatus
from rq.queue import EnqueueData
from rq.registry import FailedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer

from app.engine.registry import registry
from app.engine.runtime import logger

TIMEOUT = 0.25  # seconds
MOST_AT_ONCE = 16
MOST_WAITING = 64
RESULT_TTL = 3600  # seconds a finished hint shows on the dashboard
FAILURE_TTL = 7 * 86_400
MOST_FAILED = 1000  # failed jobs that the dashboard keeps; the run pages keep them all
PERFORM = "app.engine.process.perform"


def queue_name(namespace: str, kind: str = "worker") -> str:
    """Return the name of the queue of this kind of workers."""
    return f"{namespace}-isolated" if kind == "isolated" else f"{namespace}-runs"


class Hints:
    """Puts hints for runs on the queue."""

    def __init__(self, redis_url: str, namespace: str) -> None:
        self.connection = redis.Redis.from_url(
            redis_url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self.queue, self.isolated = (
            Queue(queue_name(namespace, kind), connection=self.connection, serializer=JSONSerializer)
            for kind in ("worker", "isolated")
        )
        self._failed = FailedJobRegistry(queue=self.queue)
        self._too_many: list[str] = []

    def give(self, runs: Iterable[tuple[str, str]]) -> None:
        """Give hints for at most sixteen runs (a hint's worker goes on with the others); never raises.

        A job is named after its run, so that the RQ dashboard says workflow and run.
        """
        by_queue: dict[Queue, list[EnqueueData]] = {}
        isolated = registry.names(isolated=True)
        for workflow, run_id in runs:
            jobs = by_queue.setdefault(self.isolated if workflow in isolated else self.queue, [])
            if len(jobs) < MOST_AT_ONCE:
                jobs.append(_job(workflow, run_id))
        for queue, jobs in by_queue.items():
            try:
                if queue.count < MOST_WAITING:  # more would only be found done already
                    queue.enqueue_many(jobs)
            except redis.RedisError as error:
                logger.warning("hint.lost", runs=len(jobs), error=type(error).__name__)

    def show_failed(self, workflow: str, run_id: str) -> None:
        """Show a run that failed without a hint of its own as a failed job, in one round trip; never raises.

        The oldest of more than a thousand give way (what is too many is known after a round trip, and goes with the
        next one).
        """
        how: dict[str, Any] = {"status": JobStatus.FAILED, "timeout": -1, "failure_ttl": FAILURE_TTL}
        how |= {"origin": self.queue.name, "connection": self.connection, "serializer": JSONSerializer}
        job = Job.create(PERFORM, args=(run_id,), **how, **_names(workflow, run_id, key="id"))
        try:
            with self.connection.pipeline(transaction=False) as pipeline:
                if self._too_many:
                    pipeline.delete(*map(Job.key_for, self._too_many), *map(Result.get_key, self._too_many))
                    pipeline.zrem(self._failed.key, *self._too_many)
                job.save(pipeline=pipeline)
                self._failed.add(job, ttl=FAILURE_TTL, pipeline=pipeline)
                Result.create_failure(job, FAILURE_TTL, why_failed(run_id), pipeline=pipeline)
                pipeline.zrange(self._failed.key, 0, -MOST_FAILED - 1)
                self._too_many = [job_id.decode() for job_id in pipeline.execute()[-1]]
        except redis.RedisError as error:
            logger.warning("hint.failure_not_shown", run_id=run_id, error=type(error).__name__)


def why_failed(run_id: str) -> str:
    """Return what a failed job says of its run."""
    return f"Run {run_id} failed; its own page says why."


def note_others(others: Sequence[tuple[str, str, str]]) -> None:
    """Note on the job being performed which other runs its slice advanced, and what became of them; never raises."""
    job = get_current_job()
    if job is None or not others:
        return
    job.meta["others"] = [f"{workflow} {run_id}: {status}" for workflow, run_id, status in others]
    try:
        job.save_meta()  # type: ignore[no-untyped-call]
    except redis.RedisError as error:
        logger.warning("hint.others_not_noted", job=job.id, error=type(error).__name__)


def _job(workflow: str, run_id: str) -> EnqueueData:
    times: dict[str, Any] = {"timeout": -1, "result_ttl": RESULT_TTL, "failure_ttl": FAILURE_TTL}
    return Queue.prepare_data(PERFORM, args=(run_id,), **times, **_names(workflow, run_id))


def _names(workflow: str, run_id: str, key: str = "job_id") -> dict[str, Any]:
    names = {"description": f"{workflow} {run_id}", "meta": {"workflow": workflow, "run_id": run_id}}
    return {key: f"{workflow}-{run_id}-{secrets.token_hex(2)}", **names}
