"""Handing on what was measured: an :class:`Exporter` is told of each :class:`Increment`.

Each exporter has a thread of its own. One that raises is logged; one that hangs holds up nobody:
what comes meanwhile is added up, within fixed memory, and what finds no place in it is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .measures import COUNTERS, EVERYTHING, Counter, Measure
from .record import MOST_SERIES, OTHER, Record, SeriesKey

__all__ = [
    "HISTOGRAMS",
    "Exporter",
    "Exporting",
    "Increment",
    "Labels",
    "Observation",
    "QueryKind",
    "is_told",
]

logger = logging.getLogger("django_querybudget")

MOST_OBSERVATIONS = 2_000
"""So many requests wait at most to be told one by one."""
MOST_KIND_BYTES = 192 * 1024
"""What the texts of the queries hold at most, in bytes; past it a query is told without its text.
"""
MOST_SECONDS = 40_000
"""So many queries wait at most to be told."""
_KIND = 500
_QUIET = 60.0
"""An error of an exporter is logged once in so many seconds."""

HISTOGRAMS = frozenset({"queries", "database_seconds", "nplusone", "violations"})
"""Of these measures an exporter tells each request's value; of all others a total."""
_ALWAYS = frozenset({"queries", "database_seconds", "duplicates"})
_PLACES = {each.name: each.total for each in EVERYTHING}
_READS = (_PLACES["cache_hits"], _PLACES["cache_misses"])
_TOGETHER = {
    "cache_hits": _READS,
    "cache_misses": _READS,
    **dict.fromkeys((counter.name for counter in COUNTERS), (_PLACES["cache_audited"],)),
}
"""What is worth telling once one of these is not 0: a rate of hits needs both, and that none of
the audited was stale is an answer. Of what is not told, PromQL makes nothing, not 0."""


def is_told(measure: Measure | Counter, numbers: Sequence[float]) -> bool:
    """Whether a series with these numbers has something to tell of it: a metric costs memory."""
    if measure.name in _ALWAYS:
        return True
    if isinstance(measure, Measure) and (measure.name in HISTOGRAMS or measure.name == "rows"):
        return measure.known(numbers) > 0
    return any(numbers[place] > 0 for place in _TOGETHER.get(measure.name, (measure.total,)))


class Observation(NamedTuple):
    """One request."""

    key: SeriesKey
    values: Sequence[float | None]
    """One for each of :data:`~.measures.MEASURES`; None for what is not known."""


class QueryKind(NamedTuple):
    """What queries that are told together have in common."""

    sql: str
    """The statement, of a long one its beginning; empty where there was no place for it."""
    alias: str
    vendor: str
    error: type[BaseException] | None


class Increment:
    """What was measured since the last one. Not to be changed by who is told of it."""

    def __init__(self) -> None:
        self.record = Record()
        """The numbers of each series; without shapes."""
        self.observations: list[Observation] = []
        """Each request, for an exporter that ``wants_requests``."""
        self.queries: dict[QueryKind, array[float]] = {}
        """The seconds of each query by kind, for an exporter that ``wants_queries``."""
        self.lost_requests = 0
        """How many requests are not among those, since there were too many."""
        self.lost_queries = 0
        """How many queries are not."""
        self._kind_bytes = self._seconds = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be handed on soon."""
        return (
            len(self.observations) > MOST_OBSERVATIONS // 2
            or self._kind_bytes > MOST_KIND_BYTES // 2
            or self._seconds > MOST_SECONDS // 2
        )

    def observe(self, observation: Observation) -> None:
        """Keep a request, if there is place."""
        if len(self.observations) < MOST_OBSERVATIONS:
            self.observations.append(observation)
        else:
            self.lost_requests += 1

    def add_queries(self, kind: QueryKind, seconds: Sequence[float]) -> None:
        """Keep what queries of a kind took, as far as there is place."""
        if (kept := max(0, MOST_SECONDS - self._seconds)) < len(seconds):
            self.lost_queries += len(seconds) - kept
            seconds = seconds[:kept]
        if not seconds:
            return
        known = self.queries.get(kind)
        if known is None:
            if self._kind_bytes > MOST_KIND_BYTES and kind.sql:
                self.add_queries(kind._replace(sql=""), seconds)
                return
            self._kind_bytes += _KIND + len(kind.sql)
            known = self.queries[kind] = array("d")
        self._seconds += len(seconds)
        known.extend(seconds)

    def plus(self, other: Increment) -> Increment:
        """Return both together."""
        both = Increment()
        for each in (self, other):
            both.record.merge(each.record, details=False)
            for observation in each.observations:
                both.observe(observation)
            for kind, seconds in each.queries.items():
                both.add_queries(kind, seconds)
            both.lost_requests += each.lost_requests
            both.lost_queries += each.lost_queries
        return both


class Labels:
    """Which series have labels of their own, of a process's whole life."""

    def __init__(self) -> None:
        self._known: set[SeriesKey] = set()

    def of(self, key: SeriesKey) -> SeriesKey:
        """Return ``key``, or that of all others where there are too many."""
        if key not in self._known:
            if len(self._known) >= MOST_SERIES - 1:
                return OTHER
            self._known.add(key)
        return key


class Exporter(Protocol):
    """A callable; named in ``QUERYBUDGET["PRODUCTION"]["EXPORTERS"]``, itself or a class of it.

    With the attribute ``wants_requests`` it is told of each request, with ``wants_queries`` of what
    each query took; a method ``close()`` is called when it is told no more.
    """

    def __call__(self, increment: Increment) -> None:
        """Hand on what was measured; called on the exporter's own thread."""


class Exporting:
    """An exporter, its thread, and what waits for it."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.wants_requests = bool(getattr(exporter, "wants_requests", False))
        self.wants_queries = bool(getattr(exporter, "wants_queries", False))
        self.failures = 0
        """How often it raised."""
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked process, which has neither the thread nor what it waits for."""
        self._changed = threading.Condition()
        self._waiting: Increment | None = None
        self._busy = self._stopping = False
        self._thread: threading.Thread | None = None
        self._logged = float("-inf")

    def tell(self, increment: Increment) -> None:
        """Let the exporter's thread hand on ``increment``; never waits for it."""
        with self._changed:
            self._waiting = self._waiting.plus(increment) if self._waiting else increment
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name="querybudget-exporter", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is shutting down, or can have no more
                    return
                self._thread = thread
            self._changed.notify_all()

    def done(self, seconds: float) -> bool:
        """Wait so many seconds at most until all is handed on; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._busy or self._waiting), seconds)

    def stop(self, seconds: float) -> None:
        """Hand on what waits, end the thread; wait for it so many seconds at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)
            if not self._thread.is_alive():
                self._thread = None
        self._stopping = False

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None:
                    if self._stopping:
                        return
                    self._changed.wait()
                increment, self._waiting = self._waiting, None
                self._busy = True
            try:
                self.exporter(increment)
            except Exception as error:  # a host's may raise anything
                self._failed(error)
            finally:
                del increment
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        now = time.monotonic()
        if now - self._logged >= _QUIET:
            self._logged = now
            logger.error(
                "django_querybudget: the exporter %r failed; requests go on.",
                self.exporter,
                exc_info=error,
            )
