"""Intervals of all processes, added up: :func:`gathered`.

A minute of many processes is many values; an hour's picture would read sixty times as many. So
whoever reads an interval that is over puts what all processes wrote of it into one value, and of
several such intervals, a *block*, into one more: the next reader, in any process, takes those.

An interval is over :data:`SETTLED` seconds after its end. A process whose clock is further behind
writes into what nobody reads again.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .decoding import MOST_RELEASES, DecodedSeries, Wanted, is_record, rows_of
from .encoding import encoded
from .measures import REQUESTS, measure
from .record import Record, SeriesKey
from .store import HOUR, MINUTE, RecordStore, Span

__all__ = ["SETTLED", "Course", "Gathered", "gathered"]

SETTLED = 60
"""In seconds: no flush takes so long."""
_LENGTHS = {MINUTE: (20, 5, 1), HOUR: (24, 6, 1)}
"""How many intervals a block may have, the largest first; each is a multiple of the next."""
_MOST_BYTES = 512 * 1024
"""What a block may be: the shapes and remarks of all its intervals are in it."""
_QUERIES, _SECONDS = measure("queries").total, measure("database_seconds").total


class Course:
    """What came in each interval, one after the other."""

    __slots__ = ("queries", "requests", "seconds")

    def __init__(self, length: int) -> None:
        self.requests = array("d", bytes(8 * length))
        self.queries = array("d", bytes(8 * length))
        self.seconds = array("d", bytes(8 * length))
        """Of database time."""

    def add(self, at: int, requests: float, queries: float, seconds: float) -> None:
        """Add to one interval."""
        self.requests[at] += requests
        self.queries[at] += queries
        self.seconds[at] += seconds

    @classmethod
    def sum(cls, courses: Iterable[Course], length: int) -> Course:
        """Return all of them together, each as long."""
        whole, added = cls(length), list(courses)
        if len(added) == 1:
            return added[0]
        if added:
            for name in cls.__slots__:
                columns = zip(*(getattr(each, name) for each in added), strict=True)
                setattr(whole, name, array("d", map(sum, columns)))
        return whole

    def flat(self) -> Iterator[float]:
        """Yield what :attr:`.decoding.DecodedSeries.course` has of it."""
        columns = zip(self.requests, self.queries, self.seconds, strict=True)
        for at, told in enumerate(columns):
            if any(told):
                yield from (at, *told)


class Gathered:
    """Consecutive intervals, added up by release and series."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.releases: dict[str, Record] = {}
        self.courses: dict[tuple[str, SeriesKey], Course] = {}

    def add(self, row: DecodedSeries, at: int) -> None:
        """Add a series of the interval ``at``, or of the block that begins there."""
        release = row.release
        if release not in self.releases and len(self.releases) >= MOST_RELEASES:
            release = "other"
        record = self.releases.get(release)
        if record is None:
            record = self.releases[release] = Record()
        key = row.add_to(record)
        course = self.courses.get((release, key))
        if course is None:
            course = self.courses[release, key] = Course(self.length)
        if row.course:
            told = iter(row.course)
            for offset, requests, queries, seconds in zip(told, told, told, told, strict=True):
                number = at + int(offset)
                if number < self.length:
                    course.requests[number] += requests
                    course.queries[number] += queries
                    course.seconds[number] += seconds
        else:
            get = row.numbers.get
            course.add(at, get(REQUESTS, 0), get(_QUERIES, 0), get(_SECONDS, 0.0))

    def packed(self) -> bytes:
        """Return it as bytes, to be one block."""
        several = self.length > 1
        courses = {key: list(each.flat()) for key, each in self.courses.items()} if several else {}
        return encoded(self.releases, courses, most=_MOST_BYTES)


class _Block(NamedTuple):
    """Some intervals that are over; or one, which may be over or not."""

    first: int
    length: int
    is_over: bool = True


def gathered(
    store: RecordStore,
    span: Span,
    numbers: range,
    now: float,
    wanted: Wanted = True,
    *,
    keep: bool = True,
) -> Gathered:
    """Return those intervals of all processes; keep for others what took long to add up.

    Without ``keep`` nothing is written. Raises what the cache raises.
    """
    return _Gathering(store, span, now, wanted, keep=keep).of(numbers)


_Targets = tuple[tuple[Gathered, int], ...]


class _Gathering:
    """One call of :func:`gathered`."""

    def __init__(
        self, store: RecordStore, span: Span, now: float, wanted: Wanted, *, keep: bool
    ) -> None:
        self._store, self._span, self._wanted, self._keeps = store, span, wanted, keep
        self._lengths = _LENGTHS[span]
        self._over = int(now - SETTLED) // span.seconds
        """The first interval that is not over."""
        self._values: dict[_Block, list[object]] = {}

    def of(self, numbers: range) -> Gathered:
        found = Gathered(len(numbers))
        blocks = list(self._cover(numbers, self._lengths))
        missing = self._read_kept(blocks)
        self._read_processes([each for each in missing if each.length == 1])
        for block in blocks:
            if block in missing and block.length > 1:
                # One by one: of two weeks it would be a hundred megabytes.
                self._read(self._parts(block))
            target = found, block.first - numbers.start
            if self._is_worth_keeping(block):
                own = Gathered(block.length)
                self._fill(block, (target, (own, 0)), True)
                self._keep(block, own)
            else:
                self._fill(block, (target,), self._wanted)
        return found

    def _is_worth_keeping(self, block: _Block) -> bool:
        """Whether it may be kept, and the next reader has less to read then."""
        if not self._keeps:
            return False
        number = len(self._values.get(block, ()))
        return block.is_over and (number > 1 or (not number and block.length > 1))

    def _keep(self, block: _Block, own: Gathered) -> None:
        if packed := own.packed():
            kept = (self._span.block_key(*block[:2]), packed, self._span.kept)
            with contextlib.suppress(Exception):  # a cache may raise anything, and it can wait
                self._store.keep([kept])

    def _cover(self, numbers: range, lengths: Sequence[int]) -> Iterator[_Block]:
        """Yield blocks that have those intervals, as few as there are of those lengths."""
        number = numbers.start
        while number < numbers.stop:
            length = next(
                each
                for each in lengths
                if each == 1
                or (number % each == 0 and number + each <= min(numbers.stop, self._over))
            )
            yield _Block(number, length, number + length <= self._over)
            number += length

    def _parts(self, block: _Block) -> Iterator[_Block]:
        shorter = self._lengths[self._lengths.index(block.length) + 1 :]
        return self._cover(range(block.first, block.first + block.length), shorter)

    def _read_kept(self, blocks: Iterable[_Block]) -> list[_Block]:
        """Read what somebody has kept of these; return those of which nobody has."""
        asked = list(blocks)
        keys = {each: self._span.block_key(*each[:2]) for each in asked if each.is_over}
        values = self._store.read(keys.values()) if keys else {}
        for each, key in keys.items():
            if is_record(values.get(key)):
                self._values[each] = [values[key]]
        return [each for each in asked if each not in self._values]

    def _read(self, blocks: Iterable[_Block]) -> None:
        """Read what somebody has kept of these, or of their parts, or what each process wrote."""
        asked, singles = list(blocks), []
        while asked:
            missing = self._read_kept(asked)
            singles += [each for each in missing if each.length == 1]
            asked = [part for each in missing if each.length > 1 for part in self._parts(each)]
        self._read_processes(singles)

    def _read_processes(self, singles: list[_Block]) -> None:
        """Read what each process wrote."""
        if not singles:
            return
        keys = self._store.keys_of(self._span, [each.first for each in singles])
        values = self._store.read(keys)
        slots = len(keys) // len(singles)
        for at, key in enumerate(keys):
            if key in values:
                self._values.setdefault(singles[at // slots], []).append(values[key])

    def _fill(self, block: _Block, targets: _Targets, wanted: Wanted) -> None:
        """Add what was read of a block, or of its parts."""
        values = self._values.pop(block, [])
        for value in values:
            for row in rows_of(value, wanted):
                for into, at in targets:
                    into.add(row, at)
        if not values and block.length > 1:
            for part in self._parts(block):
                offset = part.first - block.first
                self._fill(part, tuple((into, at + offset) for into, at in targets), wanted)
