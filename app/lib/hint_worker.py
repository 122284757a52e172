"""A small RQ worker that hands each hint to a free thread; see app.lib.hint_queue for what hints are."""

from __future__ import annotations

import logging
import time
from typing import Any

import redis
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import BaseWorker, WorkerStatus

from app.lib.slots import Slots

DEQUEUE_SECONDS = 1
BEAT_SECONDS = 10.0


class NoDeathPenalty(BaseDeathPenalty):
    """A thread cannot be killed; whoever gives hints knows how to bear with one that takes for ever."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class HintWorker(BaseWorker):
    """Dequeues hints and performs them on the threads of `slots`, until these stop.

    Args:
        slots: the threads.
        name: of this worker: nobody else's, of no other process and no other time.
        redis_url: where the hints are.
        queue: the name of their queue.
        logger: a structlog logger.
    """

    death_penalty_class = NoDeathPenalty
    log_result_lifespan = False

    def __init__(self, slots: Slots, name: str, redis_url: str, queue: str, logger: Any) -> None:
        connection = redis.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=2)
        found = Queue(queue, connection=connection, serializer=JSONSerializer)
        logging.getLogger("rq.worker").setLevel(logging.WARNING)  # RQ says a line or two per hint
        super().__init__([found], name=name, connection=connection, serializer=JSONSerializer)
        self.slots, self.logger = slots, logger
        self._beat_at = 0.0

    @property
    def connection_timeout(self) -> int:
        """Return the socket timeout that RQ sets on the pool (it defaults to seven minutes)."""
        return DEQUEUE_SECONDS + 4

    def serve(self) -> None:
        """Dequeue until the threads stop."""
        self._be_born()
        self.set_state(WorkerStatus.IDLE)
        try:
            while not self.slots.stop.is_set():
                self._stay_registered()
                if self.slots.has_free_slot(timeout=DEQUEUE_SECONDS):
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
        while self.slots.submit(self._perform, job, queue, execution) is None:
            if self.slots.stop.is_set():
                self._perform(job, queue, execution)  # takes up nothing any more; whoever gave the hint looks after it
                return
            self._stay_registered()  # other work has taken the slot meanwhile
            self.slots.has_free_slot(timeout=DEQUEUE_SECONDS)

    def _perform(self, job: Job, queue: Queue, execution: Execution) -> None:
        try:
            self.perform_job(job, queue, execution)
        except redis.RedisError as error:
            self.logger.warning("hint.not_recorded", job=job.id, error=type(error).__name__)
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
        it has expired, eight minutes later. Marked as dead and not deleted: a thread may write to it at any time.
        """
        self.connection.hset(self.key, "death", "forgotten")
        self.register_birth()  # type: ignore[no-untyped-call]

    def procline(self, message: str) -> None:
        """Leave the process's name alone: it is one of many threads."""


def serve(slots: Slots, name: str, redis_url: str, queue: str, logger: Any) -> None:
    """Serve hints until `slots` stop; a Redis that is away is tried again every second. Arguments as of the worker."""
    while not slots.stop.is_set():
        try:
            HintWorker(slots, name, redis_url, queue, logger).serve()
        except redis.RedisError as error:
            logger.warning("worker.redis_away", error=type(error).__name__)
            slots.stop.wait(1)
        except Exception:
            logger.exception("worker.hints_failed")
            slots.stop.wait(1)
