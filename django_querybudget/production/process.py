"""This process's part of the record: requests add to it, a thread flushes it.

A request pays for one addition under a lock. Every few seconds the thread takes away what was
added, hands it to the exporters, adds it to the current minute and hour, and writes those to the
cache: a whole value each, so that a write whose answer was lost is simply repeated. A cache that
fails or hangs stops the thread alone, and what is kept meanwhile has its fixed size.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections

from django_querybudget.conf import conf

from .encoding import encoded, taken_over
from .pending import Pending
from .record import Record, Remark, Said, SeriesKey
from .store import HOUR, MINUTE, RecordStore, Span, store_on

if TYPE_CHECKING:
    from django_querybudget.recording.records import RawRecord

__all__ = ["Exporter", "Observation", "ProcessRecord"]

logger = logging.getLogger("django_querybudget")

MOST_OBSERVATIONS = 5_000
"""So many requests wait for the exporters; those before them are let go, and counted."""
_QUIET = 60.0
"""An error of the cache is logged once in so many seconds."""


class Observation(NamedTuple):
    """One request, for the exporters."""

    key: SeriesKey
    values: Sequence[float | None]
    """One for each of :data:`~.measures.MEASURES`."""
    queries: Sequence[tuple[str, str, float, type[BaseException] | None]]
    """SQL, vendor, seconds and error of each; empty unless an exporter wants them."""


Exporter = Callable[[list[Observation]], None]
"""Called by the thread with what came since the last time; what it raises is logged."""


class _Interval:
    """The current interval of a span: what this process adds, and what its slot had before."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.open(-1)

    def open(self, number: int) -> None:
        self.number = number
        self.own = Record()
        self.inherited: bytes | None = None
        """What it had of other releases, as it is written; None while nothing was read."""

    def add(self, pending: Pending, now: int) -> None:
        if now // self.span.seconds != self.number:  # later, or earlier: clocks jump
            self.open(now // self.span.seconds)
        self.own.merge(pending.record, details=self.span is HOUR)
        if self.span is HOUR:
            pending.add_shapes_to(self.own)


class ProcessRecord:
    """What one process has measured. Adding is safe from several threads."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.exporters: tuple[Exporter, ...] = ()
        self.wants_queries = False
        """Whether an exporter wants the queries of each request."""
        self.lost_observations = 0
        """How many requests the exporters were not told of, since they came too fast."""
        self.failed_flushes = 0
        self._begin()

    def _begin(self) -> None:
        self._who = token_hex(8).encode()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._names: dict[SeriesKey, SeriesKey] = {}
        self._pending = Pending(self._names)
        self._observations: deque[Observation] = deque(maxlen=MOST_OBSERVATIONS)
        self._intervals = (_Interval(MINUTE), _Interval(HOUR))
        self._slot: int | None = None
        self._store: RecordStore | None = None
        self._dirty = False
        self._logged = float("-inf")
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopping = False

    # On the request's path

    def add(
        self,
        key: SeriesKey,
        values: Sequence[float | None],
        raws: Sequence[RawRecord],
        budget: int | None = None,
        remarks: Sequence[tuple[Remark, Said]] = (),
    ) -> None:
        """Add one request."""
        with self._lock:
            self._pending.add(key, values, raws, budget, remarks)
            if self.exporters:
                self._observe(key, values, raws)
        if self._thread is None:
            self._start()
        elif self._pending.is_full:
            self._woken.set()

    def _observe(
        self, key: SeriesKey, values: Sequence[float | None], raws: Sequence[RawRecord]
    ) -> None:
        queries: list[tuple[str, str, float, type[BaseException] | None]] = []
        if self.wants_queries:
            queries = [(raw.sql, raw.vendor, raw.duration, raw.error) for raw in raws[:1000]]
        waiting = self._observations
        self.lost_observations += len(waiting) == MOST_OBSERVATIONS
        waiting.append(Observation(key, values, queries))
        if len(waiting) > MOST_OBSERVATIONS // 2:
            self._woken.set()

    # On the thread

    def flush(self) -> bool:
        """Hand on what was added, to the exporters and into the cache; whether all of it is there.

        Raises nothing.
        """
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, Pending(self._names)
                observations = list(self._observations)
                self._observations.clear()
            self._export(observations)
            if not pending.is_empty:
                now = int(time.time())
                for interval in self._intervals:
                    interval.add(pending, now)
                self._dirty = True
            del pending  # not held while it is written: requests fill the next one meanwhile
            if not self._dirty:
                return True
            try:
                self._dirty = not self._write()
            except Exception as error:  # a cache may raise anything
                self._failed(error)
            return not self._dirty

    def _export(self, observations: list[Observation]) -> None:
        if not observations:
            return
        for exporter in self.exporters:
            try:
                exporter(observations)
            except Exception:
                logger.exception("django_querybudget: the exporter %r failed.", exporter)

    def _write(self) -> bool:
        if self._store is None:
            self._store = store_on(self.alias)
        store = self._store
        if self._slot is None:
            self._slot = store.claim(self._who)
            if self._slot is None:
                return False
        slot, release = self._slot, conf.RELEASE or ""
        opened = [each for each in self._intervals if each.inherited is None]
        if opened:
            keys = [each.span.key(each.number, slot) for each in opened]
            found = store.read(keys)
            for each, key in zip(opened, keys, strict=True):
                each.inherited = taken_over(found.get(key), release, each.own)
        values = [
            (
                each.span.key(each.number, slot),
                encoded({release: each.own}) + (each.inherited or b""),
                each.span.kept,
            )
            for each in self._intervals
        ]
        if store.write(values, slot, self._who):
            return True
        # It was another's for longer than the lease: who holds it now has read what we wrote.
        self._slot = None
        for each in self._intervals:
            each.open(each.number)
        return True

    def _failed(self, error: Exception) -> None:
        self.failed_flushes += 1
        now = time.monotonic()
        if now - self._logged >= _QUIET:
            self._logged = now
            logger.warning(
                "django_querybudget: the cache %r did not take the record of production (%s: %s). "
                "Requests go on; the picture has a gap.",
                self.alias,
                type(error).__name__,
                error,
            )

    # The thread

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._stopping:
                return
            thread = threading.Thread(target=self._run, name="querybudget-record", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down, or can have no more threads
                return
            self._thread = thread

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(conf.PRODUCTION.INTERVAL)
            self._woken.clear()
            self.flush()
            connections.close_all()  # those of a cache in a database

    def stop(self, seconds: float = 1.0) -> None:
        """Flush a last time and end the thread; wait for it so many seconds at most."""
        thread, self._stopping = self._thread, True
        if thread is None and (self._dirty or not self._pending.is_empty):
            thread = threading.Thread(target=self.flush, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self.flush()
                thread = None
        if thread is not None and thread is not threading.current_thread():
            self._woken.set()
            thread.join(seconds)
            # One that hangs is not followed by another.
            self._thread = thread if thread.is_alive() else None
        self._stopping = False

    def forget(self) -> None:
        """In a forked process: what was measured, the thread and the slot are the parent's."""
        self._begin()


_living: list[ProcessRecord] = []


def keep(record: ProcessRecord) -> None:
    """Let ``record`` be flushed at the process's end, and begin anew in a forked one."""
    _living.append(record)


def let_go(record: ProcessRecord) -> None:
    """Undo :func:`keep`."""
    _living.remove(record)


def _stop_all() -> None:
    # A process that forks beside a running thread is warned, and may find its locks taken.
    for record in _living:
        record.stop()


def _forget_all() -> None:
    for record in _living:
        record.forget()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop_all, after_in_child=_forget_all)
