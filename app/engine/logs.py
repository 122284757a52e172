"""`ctx.log`: the process's log, and kept with the run for its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import sqlalchemy as sa

from app.engine import codec, current
from app.engine.runtime import logger, runtime
from app.engine.schema import log
from app.engine.store import Claimed
from app.lib import json_text
from app.lib.away import DATABASE_FAILED
from app.lib.ids import new_id
from app.lib.kept_log import keeping
from app.lib.rows import columns_of, views
from app.lib.spool import Spool

if TYPE_CHECKING:
    from app.engine.execution import Execution

MAX_LINES = 1_000

WRITE = """
INSERT INTO log (run_id, id, step, level, message, fields, logged_at)
SELECT run.id, line.id, line.step, line.level, line.message, line.fields::json, line.logged_at
FROM run, unnest(%(id)s::uuid[], %(step)s::text[], %(level)s::text[], %(message)s::text[], %(fields)s::text[],
                 %(logged_at)s::timestamptz[])
  WITH ORDINALITY AS line (id, step, level, message, fields, logged_at, number)
WHERE run.id = %(run_id)s AND run.epoch = %(epoch)s AND run.status = 'running'
ORDER BY number LIMIT (SELECT greatest(0, %(most)s - count(*)) FROM log WHERE run_id = %(run_id)s)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class LogLine:
    """A line of a run's log; `step` is the key of the step that wrote it, `fields` are what it says besides."""

    id: UUID
    step: str | None
    level: str
    message: str
    fields: Any
    logged_at: datetime


def logger_of(execution: Execution) -> Any:
    """Return the structlog logger of a run: it logs as ever, and keeps what is at least an `info`.

    At most 1,000 lines a run, of 2,000 characters, without secrets. A line from a try that failed stays. One from
    outside of steps is kept once, however often a replay comes by; a body that is tried again says it again.
    """
    run = execution.run
    met: dict[tuple[float, ...], int] = {}

    def keep(level: str, text: str, fields: dict[str, Any]) -> None:
        if sum(met.values()) >= MAX_LINES:
            return
        attempt = current.attempt()
        place = current.place() if attempt is None and current.scope() else ()
        met[place] = met.get(place, 0) + 1
        line_id = uuid5(run.id, f"{run.attempt} {place} {met[place]}") if place else new_id()
        shown = codec.dump_input([fields])[1:-1]  # the brackets go: one object, or a sentence why there is none
        step, message = attempt.key if attempt else None, json_text.printable(text)[: json_text.MAX_MESSAGE]
        execution.logs.add(LogLine(line_id, step, level, message, shown, execution.now()))

    return keeping(logger.bind(run_id=str(run.id), workflow=run.workflow), keep)


def spool(run: Claimed) -> Spool[LogLine]:
    """Return where the lines of a run gather until they are written."""

    def write(lines: list[LogLine]) -> None:
        columns = {name: [getattr(line, name) for line in lines] for name in LogLine.__dataclass_fields__}
        with runtime().pool.connection() as connection:
            connection.execute(WRITE, {"run_id": run.id, "epoch": run.epoch, "most": MAX_LINES, **columns})
        runtime().announce([f"run:{run.id}"])

    return Spool(write, DATABASE_FAILED)


def list_logs(run_id: UUID, after: UUID | None = None) -> list[LogLine]:
    """Return what a run has logged, oldest first; `after` is the id of the last line that is known already."""
    query = sa.select(*columns_of(LogLine, log)).where(log.c.run_id == run_id).order_by(log.c.logged_at, log.c.id)
    lines = views(LogLine, runtime().ports.session, query)
    known = next((number for number, line in enumerate(lines, 1) if line.id == after), 0)
    return lines[known:]
