"""Figures for Prometheus that come from the database at each scrape: whichever process is asked says the same."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Figure = tuple[str, str, str, str]  # name, labels (words), help, query of (labels..., value)


class SqlCollector(Collector):
    """Gauges, each from one query, and a counter of what has happened since midnight (UTC).

    The counter's query gives (midnight, until, labels..., number) of what has happened after both `:since` (null: ever)
    and midnight, until `until`; its labels are null when nothing has. So what was counted once is not read again, and a
    counter begins anew at midnight in all processes alike.
    """

    def __init__(
        self,
        prefix: str,
        connect: Callable[[], AbstractContextManager[sa.Connection]],
        gauges: Sequence[Figure],
        counter: Figure,
    ) -> None:
        self._prefix, self._connect, self._gauges, self._counter = prefix, connect, gauges, counter
        self._lock = threading.Lock()
        self._numbers: Counter[tuple[Any, ...]] = Counter()
        self._until: datetime | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        with self._connect() as connection:
            for name, labels, told, query in self._gauges:
                gauge = GaugeMetricFamily(f"{self._prefix}_{name}", told, labels=labels.split())
                for *values, number in connection.execute(sa.text(query)):
                    gauge.add_metric(values, float(number))
                yield gauge
            name, labels, told, query = self._counter
            counter = CounterMetricFamily(f"{self._prefix}_{name}", told, labels=labels.split())
            for key, number in self._count(connection, query).items():
                counter.add_metric(key, number)
            yield counter

    def _count(self, connection: sa.Connection, query: str) -> dict[tuple[Any, ...], int]:
        with self._lock:
            for midnight, until, *labels, number in connection.execute(sa.text(query), {"since": self._until}):
                if self._until is not None and self._until < midnight:
                    self._numbers.clear()
                self._until = max(until, self._until or until)
                if None not in labels:
                    self._numbers[tuple(labels)] += number
            return dict(self._numbers)
