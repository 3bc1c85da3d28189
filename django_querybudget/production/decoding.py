"""What bytes of a record hold: :func:`rows_of`, :func:`decoded`, :func:`taken_over`.

The bytes come from a cache that others may write to: what is no record of this version, or holds
what no record can hold, is left out, and nothing that they hold is run.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeGuard

from .encoding import HEAD, Packer
from .measures import SIZE
from .record import (
    LONGEST_ADVICE,
    LONGEST_NAME,
    MOST_SERIES,
    OTHER,
    Cost,
    Record,
    Remark,
    Said,
    Series,
    SeriesKey,
    ShapeAt,
    series_key,
)

__all__ = [
    "MOST_RELEASES",
    "DecodedSeries",
    "Wanted",
    "decoded",
    "is_record",
    "rows_of",
    "taken_over",
]

MOST_INHERITED = 128 * 1024
"""What a slot keeps of other releases, in bytes."""
MOST_RELEASES = 20
_MOST_DECODED = 8 * 1024 * 1024
_PIECE = 32 * 1024
_LONGEST_LINE = 128 * 1024
_LONGEST_TEXT = 2 * LONGEST_NAME
_MOST_INTERVALS = 60

Wanted = bool | SeriesKey
"""Whose shapes and remarks are wanted: everybody's, nobody's, or one series'."""


def is_record(value: object) -> TypeGuard[bytes]:
    """Whether ``value`` looks like a record of this version."""
    return isinstance(value, bytes) and value.startswith(HEAD)


def rows_of(value: object, wanted: Wanted = True) -> Iterator[DecodedSeries]:
    """Yield what ``value`` holds, one record or several one after another.

    What is no record of ours ends it.
    """
    for rows in _segments(value, list, wanted):
        for row, _ in rows:
            yield row


def decoded(value: object) -> dict[str, Record]:
    """Return the records by release that ``value`` holds: see :func:`rows_of`."""
    found: dict[str, Record] = {}
    for row in rows_of(value):
        known = row.release in found or len(found) < MOST_RELEASES
        row.add_to(found.setdefault(row.release if known else "other", Record()))
    return found


def taken_over(value: object, release: str, into: Record) -> bytes:
    """Add to a record what ``value`` has of its release; return what it has of others, as bytes.

    As :func:`decoded`, but within the memory of ``into`` and what is returned.
    """
    others = Packer(MOST_INHERITED)
    empty = True
    for rows in _segments(value, _checked, True):
        for row, line in rows:
            if row.release == release:
                row.add_to(into)
            else:
                others.add(line)
                empty = False
    return b"" if empty else others.finished()


class DecodedSeries(NamedTuple):
    """One series of one release, as it was read."""

    release: str
    key: SeriesKey
    budget: int | None
    numbers: dict[int, float]
    """Those that are not 0, by their place."""
    course: Sequence[float]
    """Of several intervals: for each its number among them, requests, queries, seconds."""
    shapes: list[tuple[ShapeAt, Cost]]
    remarks: list[tuple[Remark, Said]]

    def add_to(self, record: Record) -> SeriesKey:
        """Add it to the series of its key; return the key that has it now."""
        series = record.of(self.key)
        numbers = series.numbers
        for at, number in self.numbers.items():
            numbers[at] += number
        if self.budget is not None:
            series.budget = self.budget
        self.add_details(record, series)
        return self.key if self.key in record.series else OTHER

    def add_details(self, record: Record, series: Series) -> None:
        """Add its shapes and remarks to a series of the record."""
        for shape, cost in self.shapes:
            record.add_shape(series, shape, cost)
        for remark, said in self.remarks:
            record.add_remark(series, remark, said)


_Rows = Iterator[tuple[DecodedSeries, bytes]]


def _checked(rows: _Rows) -> None:
    """Read all, and keep nothing: what is not whole is not to be added in part."""
    for _ in rows:
        pass


def _segments(
    value: object, check: Callable[[_Rows], list[Any] | None], wanted: Wanted
) -> Iterator[Any]:
    """Yield the rows of each record that is whole: what ``check`` keeps of them, or them again."""
    rest = memoryview(value if isinstance(value, bytes) else b"")
    while bytes(rest[: len(HEAD)]) == HEAD:
        segment = _Segment(rest[len(HEAD) :], wanted)
        try:
            rows = check(iter(segment))
        except _MALFORMED:
            return
        yield iter(segment) if rows is None else rows
        rest = segment.rest


class _Segment:
    """One record's compressed lines, and what comes after them."""

    def __init__(self, data: memoryview, wanted: Wanted) -> None:
        self._data = self.rest = data
        self._wanted = wanted

    def __iter__(self) -> _Rows:
        stream = zlib.decompressobj()
        at = read = 0
        begun = b""
        while not stream.eof:
            piece = stream.decompress(
                stream.unconsumed_tail or self._data[at : at + _PIECE], _PIECE
            )
            if not stream.unconsumed_tail:
                if at >= len(self._data) and not piece:
                    raise ValueError("cut")
                at += _PIECE
            read += len(piece)
            *lines, begun = (begun + piece).split(b"\n")
            if read > _MOST_DECODED or len(begun) > _LONGEST_LINE:
                raise ValueError("more than any record has")
            for line in lines:
                yield _parsed(line, self._wanted), line
        if begun:
            raise ValueError("half a line")
        self.rest = self._data[min(at, len(self._data)) - len(stream.unused_data) :]


_MALFORMED = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    RecursionError,
    zlib.error,
)


_raw_decode = json.JSONDecoder().raw_decode


def _loaded(text: str) -> Any:
    """Return what JSON holds; it takes half of what ``json.loads`` does for a line."""
    value, end = _raw_decode(text)
    if end != len(text):
        raise ValueError("more than JSON")
    return value


def _parsed(line: bytes, wanted: Wanted) -> DecodedSeries:
    head, _, details = line.partition(b"\t")
    release, kind, name, method, budget, numbers, course = _loaded(head.decode())
    if len(kind) + len(name) + len(method) > 2 * _LONGEST_TEXT:
        raise ValueError("no name")
    key = _key(kind, name, method)
    shapes, remarks = _details(details) if details and wanted in (True, key) else ([], [])
    places, amounts = numbers[::2], numbers[1::2]
    _check(places, _INTEGERS, SIZE)
    if course:
        _check(course[::4], _INTEGERS, _MOST_INTERVALS)
        if len(course) % 4:
            raise ValueError("half an interval")
    # All at once: a page reads some thousand lines.
    _check([0 if budget is None else budget, *amounts, *course])
    return DecodedSeries(
        _text(release),
        key,
        None if budget is None else int(budget),
        dict(zip(places, amounts, strict=True)),
        course,
        shapes,
        remarks,
    )


@lru_cache(maxsize=MOST_SERIES)
def _key(kind: Any, name: Any, method: Any) -> SeriesKey:
    made = series_key(_text(kind), _text(name), _text(method))
    return SeriesKey(made.kind[:20], made.name, made.method)


def _details(text: bytes) -> tuple[list[tuple[ShapeAt, Cost]], list[tuple[Remark, Said]]]:
    shapes, remarks = _loaded(text.decode())
    _check([number for each in shapes for number in each[3:]])
    _check([each[3] for each in remarks])
    return [
        (ShapeAt(_text(sql), _text(place), _text(digest)), Cost(int(count), seconds))
        for sql, place, digest, count, seconds in shapes
    ], [
        (
            Remark(_text(what), _text(text), _text(place)),
            Said(int(times), _text(advice, LONGEST_ADVICE)),
        )
        for what, text, place, times, advice in remarks
    ]


_INTEGERS = frozenset((int,))
_NUMBERS = frozenset((int, float))


def _check(values: list[Any], kinds: frozenset[type] = _NUMBERS, below: float = math.inf) -> None:
    """Raise ``ValueError`` unless all are numbers from 0 to below that: by what runs in C."""
    if not kinds.issuperset(map(type, values)):
        raise ValueError("no number")
    # NaN is neither less nor more, but in a sum it is seen.
    if values and not (min(values) >= 0 and math.isfinite(sum(values)) and max(values) < below):
        raise ValueError("no such number")


def _text(value: Any, longest: int = _LONGEST_TEXT) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value[:longest]
