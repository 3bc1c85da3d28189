"""A record as bytes: :func:`encoded`, :func:`decoded`, :func:`taken_over`.

A head, and a compressed line of JSON for each series: neither writing nor reading ever holds more
than a line of text besides the record. The bytes come from a cache that others may write to: what
is no record of this version, or holds what no record can hold, is left out, and nothing that they
hold is run.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from .measures import SIZE
from .record import (
    LONGEST_ADVICE,
    LONGEST_NAME,
    Cost,
    Record,
    Remark,
    Said,
    Series,
    SeriesKey,
    ShapeAt,
    series_key,
)

__all__ = ["FORMAT", "decoded", "encoded", "merge_into", "taken_over"]

FORMAT = 5
"""Raise it with every change of the measures or their bounds: others' records are not read."""

_HEAD = b"querybudget-record %d\n" % FORMAT
MOST_BYTES = 256 * 1024
"""What a record may be, in bytes."""
MOST_INHERITED = 128 * 1024
"""What a slot keeps of other releases, in bytes."""
MOST_RELEASES = 20
_MOST_DECODED = 8 * 1024 * 1024
_PIECE = 32 * 1024
_LONGEST_LINE = 128 * 1024
_LONGEST_TEXT = 2 * LONGEST_NAME


def encoded(records: Mapping[str, Record]) -> bytes:
    """Return records by release as bytes; without shapes and remarks, if they would be too many."""
    for details in (True, False):
        packer = _Packer(MOST_BYTES)
        for release, record in records.items():
            for key, series in record.series.items():
                row = [release, *_row(key, series, details)]
                text = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
                packer.add(text.encode("utf-8", "replace"))
        if made := packer.finished():
            return made
    return b""


class _Packer:
    """Compresses lines one by one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._packing = zlib.compressobj(1)
        self._pieces = [_HEAD]
        self._bytes = len(_HEAD)

    def add(self, line: bytes) -> None:
        """Add a line, unless there is no place for more."""
        if self._bytes <= self._most:
            self._keep(self._packing.compress(line + b"\n"))

    def _keep(self, piece: bytes) -> None:
        self._bytes += len(piece)
        self._pieces.append(piece)

    def finished(self) -> bytes:
        """Return the whole; nothing if it is too much."""
        self._keep(self._packing.flush())
        return b"".join(self._pieces) if self._bytes <= self._most else b""


def _row(key: SeriesKey, series: Series, details: bool) -> list[Any]:
    numbers = [(at, _short(each)) for at, each in enumerate(series.numbers) if each]
    costs = series.costliest() if details else []
    remarks = series.remarks.items() if details else ()
    return [
        *key,
        series.budget,
        [part for pair in numbers for part in pair],
        [[*shape, cost.queries, round(cost.seconds, 6)] for shape, cost in costs],
        [[*remark, *said] for remark, said in remarks],
    ]


def _short(number: float) -> float:
    return int(number) if number == int(number) else round(number, 6)


def decoded(value: object) -> dict[str, Record]:
    """Return the records by release that ``value`` holds, one or several one after another.

    What is no record of ours ends it.
    """
    found: dict[str, Record] = {}
    for rows in _segments(value, list):
        for row, _ in rows:
            known = row.release in found or len(found) < MOST_RELEASES
            row.add_to(found.setdefault(row.release if known else "other", Record()))
    return found


def taken_over(value: object, release: str, into: Record) -> bytes:
    """Add to a record what ``value`` has of its release; return what it has of others, as bytes.

    As :func:`decoded`, but within the memory of ``into`` and what is returned.
    """
    others = _Packer(MOST_INHERITED)
    empty = True
    for rows in _segments(value, _checked):
        for row, line in rows:
            if row.release == release:
                row.add_to(into)
            else:
                others.add(line)
                empty = False
    return b"" if empty else others.finished()


class _Row(NamedTuple):
    """One series of one release, as it was read."""

    release: str
    key: SeriesKey
    budget: int | None
    numbers: list[tuple[int, float]]
    shapes: list[tuple[ShapeAt, Cost]]
    remarks: list[tuple[Remark, Said]]

    def add_to(self, record: Record) -> None:
        """Add it to the series of its key."""
        series = record.of(self.key)
        for at, number in self.numbers:
            series.numbers[at] += number
        if self.budget is not None:
            series.budget = self.budget
        for shape, cost in self.shapes:
            record.add_shape(series, shape, cost)
        for remark, said in self.remarks:
            record.add_remark(series, remark, said)


_Rows = Iterator[tuple[_Row, bytes]]


def _checked(rows: _Rows) -> None:
    """Read all, and keep nothing: what is not whole is not to be added in part."""
    for _ in rows:
        pass


def _segments(value: object, check: Callable[[_Rows], list[Any] | None]) -> Iterator[Any]:
    """Yield the rows of each record that is whole: what ``check`` keeps of them, or them again."""
    rest = memoryview(value if isinstance(value, bytes) else b"")
    while bytes(rest[: len(_HEAD)]) == _HEAD:
        segment = _Segment(rest[len(_HEAD) :])
        try:
            rows = check(iter(segment))
        except _MALFORMED:
            return
        yield iter(segment) if rows is None else rows
        rest = segment.rest


class _Segment:
    """One record's compressed lines, and what comes after them."""

    def __init__(self, data: memoryview) -> None:
        self._data = self.rest = data

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
                yield _parsed(json.loads(line)), line
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


def merge_into(records: dict[str, Record], others: dict[str, Record]) -> None:
    """Add records by release to others; past :data:`MOST_RELEASES` releases to "other"."""
    for release, record in others.items():
        known = release in records or len(records) < MOST_RELEASES
        records.setdefault(release if known else "other", Record()).merge(record)


def _parsed(row: Any) -> _Row:
    release, kind, name, method, budget, numbers, shapes, remarks = row
    made = series_key(_text(kind), _text(name), _text(method))
    places = numbers[::2]
    if not all(isinstance(each, int) and 0 <= each < SIZE for each in places):
        raise ValueError(places)
    return _Row(
        release=_text(release),
        key=SeriesKey(made.kind[:20], made.name, made.method),
        budget=None if budget is None else int(_amount(budget)),
        numbers=list(zip(places, map(_amount, numbers[1::2]), strict=True)),
        shapes=[
            (
                ShapeAt(_text(sql), _text(place), _text(digest)),
                Cost(int(_amount(count)), _amount(seconds)),
            )
            for sql, place, digest, count, seconds in shapes
        ],
        remarks=[
            (
                Remark(_text(what), _text(text), _text(place)),
                Said(int(_amount(times)), _text(advice, LONGEST_ADVICE)),
            )
            for what, text, place, times, advice in remarks
        ],
    )


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(value)
    if value < 0:
        raise ValueError(value)
    return value


def _text(value: Any, longest: int = _LONGEST_TEXT) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value[:longest]
