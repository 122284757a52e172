"""A small RQ worker that hands each hint to a run thread of the engine's worker."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import redis
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import BaseWorker, WorkerStatus

from app.engine.queue import queue_name
from app.engine.runtime import Ports, logger

if TYPE_CHECKING:
    from app.engine.process import Worker

DEQUEUE_SECONDS = 1
BEAT_SECONDS = 10.0


class NoDeathPenalty(BaseDeathPenalty):
    """A thread cannot be killed; runs have leases instead."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class ThreadWorker(BaseWorker):
    """Dequeues hints and performs them on the run threads."""

    death_penalty_class = NoDeathPenalty
    log_result_lifespan = False

    def __init__(self, worker: Worker, ports: Ports) -> None:
        connection = redis.Redis.from_url(ports.redis_url, socket_timeout=5, socket_connect_timeout=2)
        queue = Queue(queue_name(ports.namespace, worker.kind), connection=connection, serializer=JSONSerializer)
        logging.getLogger("rq.worker").setLevel(logging.WARNING)  # RQ says a line or two per hint
        super().__init__([queue], name=worker.name, connection=connection, serializer=JSONSerializer)
        self.engine_worker = worker
        self._beat_at = 0.0

    @property
    def connection_timeout(self) -> int:
        """Return the socket timeout that RQ sets on the pool (it defaults to seven minutes)."""
        return DEQUEUE_SECONDS + 4

    def serve(self) -> None:
        """Dequeue until the engine's worker stops."""
        self._be_born()
        self.set_state(WorkerStatus.IDLE)
        try:
            while not self.engine_worker.stop.is_set():
                self._stay_registered()
                if self.engine_worker.has_free_slot(timeout=DEQUEUE_SECONDS):
                    self._take_one()
        finally:
            self.register_death()  # type: ignore[no-untyped-call]

    def _take_one(self) -> None:
        try:
            found = self.queue_class.dequeue_any(
                self.queues,
                DEQUEUE_SECONDS,
                connection=self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
                death_penalty_class=self.death_penalty_class,
            )
        except DequeueTimeout:
            return
        if found is None:
            return
        job, queue = found
        execution = self.prepare_execution(job)
        while self.engine_worker.submit(self._perform, job, queue, execution) is None:
            if self.engine_worker.stop.is_set():
                self._perform(job, queue, execution)  # claims nothing any more; whoever is next finds the run
                return
            self._stay_registered()  # a claim from PostgreSQL has taken the slot meanwhile
            self.engine_worker.has_free_slot(timeout=DEQUEUE_SECONDS)

    def _perform(self, job: Job, queue: Queue, execution: Execution) -> None:
        try:
            self.perform_job(job, queue, execution)
        except redis.RedisError as error:
            logger.warning("hint.not_recorded", job=job.id, error=type(error).__name__)
        finally:
            self.executions.pop(execution.id, None)

    def _stay_registered(self) -> None:
        """Beat, be born again when Redis has forgotten everything, and clean RQ's registries now and then."""
        if time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + BEAT_SECONDS
        if not self.connection.sismember(self.redis_workers_keys, self.key):  # a hint may have made the key anew
            self._be_born()
        self.heartbeat()
        for execution in list(self.executions.values()):  # or RQ takes a hint of over 90 s for abandoned, and failed
            self.maintain_heartbeats(execution.job, execution)
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def _be_born(self) -> None:
        """Register this worker, whatever there is under its name.

        The name is of this process alone: that is from before Redis went away, and RQ would refuse a second birth until
        it has expired, eight minutes later. Marked as dead and not deleted: a run thread may write to it at any time.
        """
        self.connection.hset(self.key, "death", "forgotten")
        self.register_birth()  # type: ignore[no-untyped-call]

    def procline(self, message: str) -> None:
        """Leave the process's name alone: it is one of many threads."""


def serve(worker: Worker, ports: Ports) -> None:
    """Serve hints until the worker stops; a Redis that is away is tried again every second."""
    while not worker.stop.is_set():
        try:
            ThreadWorker(worker, ports).serve()
        except redis.RedisError as error:
            logger.warning("worker.redis_away", error=type(error).__name__)
            worker.stop.wait(1)
        except Exception:  # noqa: BLE001  one hint that is not ours must not end all others
            logger.exception("worker.hints_failed")
            worker.stop.wait(1)
