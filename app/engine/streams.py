"""`ctx.stream(name)`: text for people while a step makes it. The truth is what the step returns."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from app.engine import codec
from app.engine.current import Attempt
from app.engine.errors import LimitExceeded
from app.engine.runtime import runtime
from app.engine.schema import stream
from app.engine.store import Claimed
from app.lib import json_text
from app.lib.away import DATABASE_FAILED
from app.lib.keys import compact
from app.lib.spool import Spool

MAX_BYTES = 1024 * codec.KIB
Piece = tuple[Attempt, str, str]  # what a try writes, under which name

# Without a lock on the run: this is text for people, and the step's own transaction may hold the run. A try that begins
# takes the numbers up behind those of the one before, whose text goes.
WRITE = """
WITH last AS (
  SELECT run.id, coalesce(newest.seq, 0) AS seq, coalesce(newest.attempt, 0) + %(begins)s::int AS attempt
  FROM run LEFT JOIN LATERAL (
    SELECT seq, attempt FROM stream WHERE run_id = run.id AND name = %(name)s ORDER BY seq DESC LIMIT 1
  ) AS newest ON true
  WHERE run.id = %(run_id)s AND run.epoch = %(epoch)s AND run.status = 'running'
), gone AS (
  DELETE FROM stream USING last WHERE %(begins)s::int = 1 AND stream.run_id = last.id AND stream.name = %(name)s
)
INSERT INTO stream (run_id, name, seq, attempt, text, written_at)
SELECT id, %(name)s, seq + 1, attempt, %(text)s, engine_now() FROM last ON CONFLICT DO NOTHING
"""


class Stream:
    """What one try of a step writes under one name."""

    def __init__(self, spool: Spool[Piece], attempt: Attempt, name: str) -> None:
        self._spool, self._attempt, self._name = spool, attempt, compact(name)

    def write(self, text: str) -> None:
        """Write `text`: cheap; people see it within a tenth of a second or two.

        Raises:
            LimitExceeded: this try has written more than 1 MiB to the stream.
        """
        written = self._attempt.written
        size = written.get(self._name, 0) + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        if size > MAX_BYTES:
            raise LimitExceeded("stream_bytes", f"Stream {self._name!r} is over {MAX_BYTES} bytes; write less to it.")
        written[self._name] = size
        self._spool.add((self._attempt, self._name, text))


def spool(run: Claimed) -> Spool[Piece]:
    """Return where the streams of a run gather until they are written; several pieces become one row."""
    begun: dict[str, Attempt] = {}

    def write(pieces: list[Piece]) -> None:
        texts: dict[tuple[Attempt, str], list[str]] = {}
        for attempt, name, text in pieces:
            texts.setdefault((attempt, name), []).append(text)
        latest = dict(begun)
        with runtime().pool.connection() as connection, connection.transaction():
            for (attempt, name), parts in texts.items():
                before = latest.get(name)
                if before is not None and before.key == attempt.key and before.number > attempt.number:
                    continue  # an abandoned try goes on writing
                latest[name] = attempt
                values = {"run_id": run.id, "epoch": run.epoch, "name": name, "begins": int(before is not attempt)}
                connection.execute(WRITE, {**values, "text": json_text.printable("".join(parts))})
        begun.update(latest)
        runtime().announce([f"stream:{run.id}"])

    return Spool(write, DATABASE_FAILED)


@dataclass(frozen=True)
class StreamText:
    """The rest of a stream. When `attempt` is not the one seen before, the text stands for all of it: start over."""

    text: str
    attempt: int
    seq: int  # pass it as `after_seq` the next time


def read_stream(run_id: UUID, name: str, after_seq: int = 0) -> StreamText:
    """Return what the newest try has written to a stream after `after_seq`; attempt 0 when nothing is there.

    Announced under the topic `stream:<run_id>`.
    """
    # The piece that is known already is read again: it is there exactly as long as no other try has begun.
    found = [stream.c.run_id == run_id, stream.c.name == compact(name), stream.c.seq >= after_seq]
    query = sa.select(stream.c.seq, stream.c.attempt, stream.c.text).where(*found).order_by(stream.c.seq)
    rows = runtime().ports.session.execute(query).all()
    text = "".join(row.text for row in rows if row.seq > after_seq)
    return StreamText(text, rows[-1].attempt, rows[-1].seq) if rows else StreamText("", 0, after_seq)
