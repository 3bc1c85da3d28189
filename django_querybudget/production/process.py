"""This process's part of the record: requests add to it, a thread flushes it.

A request pays for one addition under a lock. Every few seconds the thread takes away what was
added, hands it to the exporters, adds it to the current minute and hour, and writes those to the
cache: a whole value each, so that a write whose answer was lost is simply repeated. A cache that
fails or hangs stops the thread alone, and what is kept meanwhile (:mod:`.intervals`) has its fixed
size.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Sequence
from secrets import token_hex
from typing import TYPE_CHECKING

from django.db import connections

from django_querybudget.conf import conf

from .decoding import taken_over
from .exporting import Exporter, Exporting
from .intervals import Interval, Unwritten
from .pending import Pending
from .record import Remark, Said, SeriesKey
from .store import HOUR, MINUTE, RecordStore, store_on

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

__all__ = ["ProcessRecord"]

logger = logging.getLogger("django_querybudget")

_QUIET = 60.0
"""An error of the cache is logged once in so many seconds."""


class ProcessRecord:
    """What one process has measured. Adding is safe from several threads."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.exporting: tuple[Exporting, ...] = ()
        """The exporters that are told what was measured."""
        self.failed_flushes = 0
        self._begin()

    def _begin(self) -> None:
        self._who = token_hex(8).encode()
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._names: dict[SeriesKey, SeriesKey] = {}
        self._pending = self._begun()
        self._unwritten = Unwritten()
        self._intervals = tuple(Interval(span, self._unwritten) for span in (MINUTE, HOUR))
        self._slot: int | None = None
        self._store: RecordStore | None = None
        self._dirty = False
        self._logged = float("-inf")
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopping = False

    def _begun(self) -> Pending:
        return Pending(
            self._names,
            requests=any(each.wants_requests for each in self.exporting),
            queries=any(each.wants_queries for each in self.exporting),
        )

    # Exporters

    def add_exporter(self, exporter: Exporter) -> None:
        """Tell ``exporter`` of what is measured from now on."""
        self.flush()
        self.exporting = (*self.exporting, Exporting(exporter))
        self.flush()

    def remove_exporters(self, seconds: float = 1.0) -> None:
        """Tell no exporter any more; wait for each so many seconds at most."""
        told, self.exporting = self.exporting, ()
        for each in told:
            each.stop(seconds)
            close = getattr(each.exporter, "close", None)
            try:
                if close is not None:
                    close()
            except Exception:  # a host's may raise anything
                logger.exception(
                    "django_querybudget: the exporter %r did not close.", each.exporter
                )

    def exported(self, seconds: float = 5.0) -> bool:
        """Flush, wait so many seconds at most until the exporters have it; return whether so."""
        self.flush()
        return all(each.done(seconds) for each in self.exporting)

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
        if self._thread is None:
            self._start()
        elif self._pending.is_full:
            self._woken.set()

    def count(self, key: SeriesKey, place: int, number: int = 1) -> None:
        """Add to one of :data:`.measures.COUNTERS`, by its place: of a request that was added."""
        with self._lock:
            self._pending.count(key, place, number)
        if self._thread is None:
            self._start()

    # On the thread

    def flush(self) -> bool:
        """Hand on what was added, to the exporters and into the cache; whether all of it is there.

        Raises nothing.
        """
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, self._begun()
            if not pending.is_empty:
                for each in self.exporting:
                    each.tell(pending.increment)
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
        if store.write([each.value(slot) for each in self._intervals], slot, self._who):
            for each in self._intervals:
                each.is_written = True
            self._unwritten.write(store, slot)
            return True
        # It was another's for longer than the lease: who holds it now has read what we wrote.
        self._slot = None
        for each in self._intervals:
            each.open(each.number)
        self._unwritten.forget()
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
        for each in self.exporting:
            each.stop(seconds)
        self._stopping = False

    def forget(self) -> None:
        """In a forked process: what was measured, the threads and the slot are the parent's."""
        for each in self.exporting:
            each.forget()
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
