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
from operator import add
from typing import NamedTuple

from .decoding import MOST_RELEASES, Row, Wanted, is_record, rows_of
from .encoding import encoded
from .measures import MEASURES, REQUESTS
from .record import Record, SeriesKey
from .store import HOUR, MINUTE, RecordStore, Span

__all__ = ["SETTLED", "Course", "Gathered", "gathered"]

SETTLED = 120
"""In seconds: no flush takes so long."""
_LENGTHS = {MINUTE: 10, HOUR: 6}
"""How many intervals a block has. Others are for edges of what is asked for."""
_MOST_BYTES = 512 * 1024
"""What a block may be: the shapes and remarks of all its intervals are in it."""
_QUERIES, _SECONDS = MEASURES[0].total, MEASURES[1].total


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

    def plus(self, other: Course) -> Course:
        """Return both together."""
        both = Course(0)
        for name in self.__slots__:
            setattr(both, name, array("d", map(add, getattr(self, name), getattr(other, name))))
        return both

    def flat(self) -> Iterator[float]:
        """Yield what :attr:`.decoding.Row.course` has of it."""
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

    def add(self, row: Row, at: int) -> None:
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
            for offset, *numbers in zip(told, told, told, told, strict=True):
                if at + int(offset) < self.length:
                    course.add(at + int(offset), *numbers)
        else:
            get = row.numbers.get
            course.add(at, get(REQUESTS, 0), get(_QUERIES, 0), get(_SECONDS, 0.0))

    def packed(self) -> bytes:
        """Return it as bytes, to be one block."""
        several = self.length > 1
        courses = {key: list(each.flat()) for key, each in self.courses.items()} if several else {}
        return encoded(self.releases, courses, most=_MOST_BYTES)


class _Block(NamedTuple):
    """Some intervals; one of them alone, or as many as a block has."""

    first: int
    length: int
    is_over: bool

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.length)


def gathered(
    store: RecordStore, span: Span, numbers: range, now: float, wanted: Wanted = True
) -> Gathered:
    """Return those intervals of all processes; keep for others what took long to add up.

    Raises what the cache raises.
    """
    return _Gathering(store, span, now, wanted).of(numbers)


class _Gathering:
    def __init__(self, store: RecordStore, span: Span, now: float, wanted: Wanted) -> None:
        self._store, self._span, self._now, self._wanted = store, span, now, wanted
        self._kept: list[tuple[str, bytes, int]] = []

    def of(self, numbers: range) -> Gathered:
        found = Gathered(len(numbers))
        blocks = list(self._cover(numbers))
        merged = self._merged(blocks)
        missing = [each for each in blocks if each not in merged]
        # What a block lacks may be there by interval.
        singles = {
            number: _Block(number, 1, each.is_over) for each in missing for number in each.numbers
        }
        merged |= self._merged(
            singles[number] for each in missing if each.length > 1 for number in each.numbers
        )
        own = self._own([each.first for each in singles.values() if each not in merged])
        for block in blocks:
            at = block.first - numbers.start
            if block in merged:
                for row in rows_of(merged[block], self._wanted):
                    found.add(row, at)
                continue
            block_own = Gathered(block.length)
            for offset, number in enumerate(block.numbers):
                single = singles[number]
                values = [merged[single]] if single in merged else own.get(number, ())
                for value in values:
                    for row in rows_of(value, self._wanted if not block.is_over else True):
                        found.add(row, at + offset)
                        block_own.add(row, offset)
                whole = len(values)
            if block.is_over and (block.length > 1 or whole > 1):
                self._keep(block, block_own)
        if self._kept:
            with contextlib.suppress(Exception):  # a cache may raise anything, and it can wait
                self._store.keep(self._kept)
        return found

    def _cover(self, numbers: range) -> Iterator[_Block]:
        length, number = _LENGTHS[self._span], numbers.start
        while number < numbers.stop:
            whole = _Block(number, length, self._is_over(number + length))
            if number % length or number + length > numbers.stop or not whole.is_over:
                whole = _Block(number, 1, self._is_over(number + 1))
            yield whole
            number += whole.length

    def _is_over(self, end: int) -> bool:
        return end * self._span.seconds + SETTLED <= self._now

    def _merged(self, blocks: Iterable[_Block]) -> dict[_Block, object]:
        """Return those that somebody has kept."""
        keys = {each: self._span.block_key(*each[:2]) for each in blocks if each.is_over}
        values = self._store.read(keys.values()) if keys else {}
        return {each: values[key] for each, key in keys.items() if is_record(values.get(key))}

    def _own(self, numbers: Sequence[int]) -> dict[int, list[object]]:
        """Return the values of each interval, one for each process that wrote one."""
        keys = self._store.keys_of(self._span, numbers) if numbers else []
        values = self._store.read(keys) if keys else {}
        slots = len(keys) // max(1, len(numbers))
        found: dict[int, list[object]] = {}
        for at, key in enumerate(keys):
            if key in values:
                found.setdefault(numbers[at // slots], []).append(values[key])
        return found

    def _keep(self, block: _Block, found: Gathered) -> None:
        if packed := found.packed():
            key = self._span.block_key(*block[:2])
            self._kept.append((key, packed, self._span.kept))
