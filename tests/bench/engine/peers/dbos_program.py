"""Process: DBOS Transact, as its documentation has it; runs under the Python of its own environment.

`dbos_program.py serve <database>` is the application, `dbos_program.py enqueue <database>` another process that
enqueues work for it. Both answer one line of JSON per line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig

QUEUE = "bench"


@DBOS.step()
def nothing() -> int:
    return 1


@DBOS.step()
def stamp() -> float:
    return time.time()


@DBOS.workflow()
def steps(number: int) -> None:
    for _ in range(number):
        nothing()


@DBOS.workflow()
def first_step() -> float:
    return stamp()


def serve(database: str) -> None:
    """Answer `{"runs", "steps"}` with the seconds these took, `{"starts"}` with the seconds to each first step."""
    config: DBOSConfig = {"name": "bench", "system_database_url": database, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE)

    def answer(question: dict[str, Any]) -> Any:
        if "starts" in question:
            return [_start() for _ in range(question["starts"])]
        began = time.perf_counter()
        if question["runs"] == 1:
            steps(question["steps"])
        else:
            for handle in [DBOS.start_workflow(steps, question["steps"]) for _ in range(question["runs"])]:
                handle.get_result()
        return time.perf_counter() - began

    _answer(answer)
    DBOS.destroy()


def enqueue(database: str) -> None:
    """Answer `{"events"}` with the seconds from enqueueing each to its first step in the other process."""
    client = DBOSClient(system_database_url=database)

    def once() -> float:
        sent_at = time.time()
        handle: Any = client.enqueue({"queue_name": QUEUE, "workflow_name": "first_step"})
        return handle.get_result(polling_interval_sec=0.05) - sent_at

    _answer(lambda question: [once() for _ in range(question["events"])])


def _start() -> float:
    sent_at = time.time()
    handle = DBOS.start_workflow(first_step)
    stamped: float = handle.get_result()
    return stamped - sent_at


def _answer(answer: Callable[[dict[str, Any]], Any]) -> None:
    for question in _questions():
        sys.stdout.write(json.dumps(answer(question)) + "\n")
        sys.stdout.flush()


def _questions() -> Iterator[dict[str, Any]]:
    sys.stdout.write('"ready"\n')
    sys.stdout.flush()
    for line in sys.stdin:
        yield json.loads(line)


if __name__ == "__main__":
    {"serve": serve, "enqueue": enqueue}[sys.argv[1]](sys.argv[2])
