"""The minute and the hour that a process adds to, and those that are over and not written yet."""

from __future__ import annotations

from typing import NamedTuple

from django_querybudget.conf import conf

from .decoding import is_record
from .encoding import encoded
from .pending import Pending
from .record import Record
from .store import HOUR, MINUTE, RecordStore, Span

__all__ = ["Interval", "Unwritten"]

UNWRITTEN_BYTES = 256 * 1024
"""What the intervals that wait for the cache hold at most; some half an hour of minutes."""


class Interval:
    """The current interval of a span: what this process adds, and what its slot had before."""

    def __init__(self, span: Span, unwritten: Unwritten) -> None:
        self.span = span
        self._unwritten = unwritten
        self.open(-1)

    def open(self, number: int) -> None:
        """Begin the interval ``number``."""
        self.number = number
        self.own = Record()
        self.inherited: bytes | None = None
        """What it had of other releases, as it is written; None while nothing was read."""
        self.is_written = True
        """Whether all of it is in the cache."""

    def add(self, pending: Pending, now: int) -> None:
        """Add what came until ``now``; one that is over is put aside if it is not written."""
        if now // self.span.seconds != self.number:  # later, or earlier: clocks jump
            if not self.is_written:
                self._unwritten.add(_Over(self.span, self.number, self._own(), self.inherited))
            self.open(now // self.span.seconds)
        self.own.merge(pending.record, details=self.span is HOUR)
        if self.span is HOUR:
            pending.add_shapes_to(self.own)
        self.is_written = False

    def _own(self) -> bytes:
        return encoded({conf.RELEASE or "": self.own})

    def value(self, slot: int) -> tuple[str, bytes, int]:
        """Return key, value and seconds, as a store takes them."""
        key = self.span.key(self.number, slot)
        return key, self._own() + (self.inherited or b""), self.span.kept


class _Over(NamedTuple):
    """An interval that ended while the cache was away."""

    span: Span
    number: int
    own: bytes
    inherited: bytes | None
    """None where the cache was never asked what the slot had of it."""


class Unwritten:
    """Intervals that ended while the cache was away, within fixed memory."""

    def __init__(self) -> None:
        self._over: list[_Over] = []

    def add(self, over: _Over) -> None:
        """Keep one; minutes are forgotten before hours, the oldest first."""
        self._over.append(over)
        while sum(len(each.own) + len(each.inherited or b"") for each in self._over) > (
            UNWRITTEN_BYTES
        ):
            minutes = (each for each in self._over if each.span is MINUTE)
            self._over.remove(next(minutes, self._over[0]))

    def write(self, store: RecordStore, slot: int) -> None:
        """Write all of them under a slot that is the process's own. Raises what the cache does."""
        if not self._over:
            return
        keys = {each: each.span.key(each.number, slot) for each in self._over}
        unknown = [key for each, key in keys.items() if each.inherited is None]
        found = store.read(unknown) if unknown else {}
        values = []
        for each, key in keys.items():
            before = found.get(key) if each.inherited is None else each.inherited
            kept = before if is_record(before) else b""
            values.append((key, each.own + kept, each.span.kept))
        store.keep(values)
        self.forget()

    def forget(self) -> None:
        """Keep none of them."""
        self._over.clear()
