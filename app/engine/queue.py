"""Hints: which run a worker had better look at. PostgreSQL alone knows what is to be done."""

from collections.abc import Iterable, Sequence

from app.engine.registry import registry
from app.engine.runtime import logger
from app.lib.hint_queue import Hint, HintQueue, connect, note

MOST_AT_ONCE = 16
PERFORM = "app.engine.process.perform"


def queue_name(namespace: str, kind: str = "worker") -> str:
    """Return the name of the queue of this kind of workers."""
    return f"{namespace}-isolated" if kind == "isolated" else f"{namespace}-runs"


class Hints:
    """Puts hints for runs on the queue of those workers that advance them."""

    def __init__(self, redis_url: str, namespace: str) -> None:
        self.connection = connect(redis_url)
        self.queue, self.isolated = (
            HintQueue(self.connection, queue_name(namespace, kind), logger) for kind in ("worker", "isolated")
        )

    def give(self, runs: Iterable[tuple[str, str]]) -> None:
        """Give hints for at most sixteen runs of a queue (a hint's worker goes on with the others); never raises."""
        isolated = registry.names(isolated=True)
        by_queue: dict[HintQueue, list[Hint]] = {}
        for workflow, run_id in runs:
            hints = by_queue.setdefault(self.isolated if workflow in isolated else self.queue, [])
            if len(hints) < MOST_AT_ONCE:
                hints.append(_hint(workflow, run_id))
        for queue, hints in by_queue.items():
            queue.give(hints)

    def show_failed(self, workflow: str, run_id: str) -> None:
        """Show a run that failed without a hint of its own as a failed job; never raises."""
        self.queue.show_failed(_hint(workflow, run_id), why_failed(run_id))


def why_failed(run_id: str) -> str:
    """Return what a failed job says of its run."""
    return f"Run {run_id} failed; its own page says why."


def note_others(others: Sequence[tuple[str, str, str]]) -> None:
    """Note on the job being performed which other runs its slice advanced, and what became of them; never raises."""
    if others:
        note("others", [f"{workflow} {run_id}: {status}" for workflow, run_id, status in others], logger)


def _hint(workflow: str, run_id: str) -> Hint:
    """Name a job after its run, so that the RQ dashboard says workflow and run."""
    names = {"workflow": workflow, "run_id": run_id}
    return Hint(PERFORM, (run_id,), f"{workflow}-{run_id}", f"{workflow} {run_id}", names)
