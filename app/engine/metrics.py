"""Figures for Prometheus, from the database at each scrape: whichever process is asked says the same.

Nothing here counts what has ended long ago. Runs that go on are counted in their own index; those that have ended since
midnight (UTC) once, and from then on only what came since the last scrape.
"""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.engine.runtime import runtime
from app.lib.figures import SqlCollector

# name, labels, help, query of (labels..., value)
GAUGES = (
    ("runs", "workflow status", "Runs that have not ended.", """
SELECT workflow, status, count(*) FROM run WHERE finished_at IS NULL GROUP BY 1, 2"""),
    ("held_runs", "reason", "Queued runs that stand aside: for a full limit, or a paused workflow.", """
SELECT CASE WHEN held_by LIKE '%#%' THEN 'limit' ELSE 'paused' END, count(*)
FROM run WHERE held_by IS NOT NULL GROUP BY 1"""),
    ("due_runs", "", "Runs that could go on now and that no worker has claimed.", """
SELECT (SELECT count(*) FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS NULL)
  + (SELECT count(*) FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS NOT NULL)
  + (SELECT count(*) FROM run WHERE status IN ('waiting', 'debounced') AND due_at <= (SELECT engine_now()))"""),
    ("oldest_queued_run_age_seconds", "", "How long the first run of the queue has been due.", """
SELECT coalesce(extract(epoch FROM engine_now() - least(
  (SELECT min(sort_at) FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS NULL),
  (SELECT min(sort_at) FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS NOT NULL))), 0)"""),
    ("expired_leases", "", "Running runs whose worker is silent.",
     "SELECT count(*) FROM run WHERE status = 'running' AND lease_until <= (SELECT engine_now())"),
    ("workers", "kind", "Processes that were heard of in the last half minute.",
     "SELECT kind, count(*) FROM worker WHERE seen_at > engine_now() - interval '30 seconds' GROUP BY 1"),
    ("busy_threads", "", "Run threads that are advancing a run.",
     "SELECT coalesce(sum(busy), 0) FROM worker WHERE seen_at > engine_now() - interval '30 seconds'"),
    ("seconds_since_upkeep", "", "Time since a pass of upkeep was finished anywhere.",
     "SELECT extract(epoch FROM engine_now() - max(upkeep_at)) FROM worker HAVING max(upkeep_at) IS NOT NULL"),
    ("unmatched_events", "", "Events for which no waiting run has been looked for yet.",
     "SELECT count(*) FROM event WHERE matched_at IS NULL"),
    ("unscanned_waits", "", "Waits that have not looked back over earlier events yet.",
     "SELECT count(*) FROM wait WHERE scanned_at IS NULL AND status = 'open'"),
)  # fmt: skip

# Not the last seconds: a transaction that ends a run may commit after a later one has.
ENDED = """
SELECT midnight, until, workflow, status, count(run.id)
FROM (SELECT date_trunc('day', engine_now(), 'UTC') AS midnight, engine_now() - interval '15 seconds' AS until) AS at
LEFT JOIN run ON finished_at > greatest(:since, midnight) AND finished_at <= until GROUP BY 1, 2, 3, 4
"""


def collector() -> SqlCollector:
    """Return what collects the engine's figures."""
    connect = lambda: runtime().ports.engine.connect()  # noqa: E731, PLW0108  (there is no runtime yet)
    ended = ("ended_runs", "workflow status", "Runs that have ended since midnight (UTC).", ENDED)
    return SqlCollector("throughline_engine", connect, GAUGES, ended)


_collector = collector()


def metrics_page() -> tuple[bytes, str]:
    """Return the figures as Prometheus reads them, and their content type.

    Raises:
        SQLAlchemyError: the database is away.
    """
    return generate_latest(_collector), CONTENT_TYPE_LATEST
