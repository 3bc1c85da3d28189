"""A record as bytes: :func:`encoded`, :func:`decoded`.

The bytes come from a cache that others may write to: what is no record of this version, or holds
what no record can hold, is left out, and nothing that they hold is run.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from .measures import SIZE
from .record import (
    LONGEST_ADVICE,
    LONGEST_NAME,
    MOST_SERIES,
    Cost,
    Record,
    Remark,
    Said,
    Series,
    SeriesKey,
    ShapeAt,
    series_key,
)

__all__ = ["FORMAT", "decoded", "encoded", "merge_into"]

FORMAT = 2
"""Raise it with every change of the measures or their bounds: others' records are not read."""

_HEAD = b"querybudget-record %d\n" % FORMAT
MOST_BYTES = 450_000
"""What a record may be, in bytes: a value of memcached's holds two."""
MOST_RELEASES = 20
_MOST_DECODED = 8 * 1024 * 1024
_LONGEST_TEXT = 2 * LONGEST_NAME


def encoded(records: dict[str, Record]) -> bytes:
    """Return records by release as bytes; without shapes and remarks, if they would be too many."""
    made = _packed(records, details=True)
    if len(made) > MOST_BYTES:
        made = _packed(records, details=False)
    return made if len(made) <= MOST_BYTES else b""


def _packed(records: dict[str, Record], *, details: bool) -> bytes:
    body = [
        [release, [_row(key, series, details) for key, series in record.series.items()]]
        for release, record in records.items()
    ]
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return _HEAD + zlib.compress(text.encode("utf-8", "replace"), 1)


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
    rest = value if isinstance(value, bytes) else b""
    while rest.startswith(_HEAD):
        stream = zlib.decompressobj()
        try:
            text = stream.decompress(rest[len(_HEAD) :], _MOST_DECODED)
            if not stream.eof:
                break  # cut, or more than any record is
            read = {_text(release): _record(rows) for release, rows in json.loads(text)}
        except _MALFORMED:
            break
        merge_into(found, read)
        rest = stream.unused_data
    return found


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


def _record(rows: list[Any]) -> Record:
    record = Record()
    for kind, name, method, budget, numbers, shapes, remarks in rows[:MOST_SERIES]:
        made = series_key(_text(kind), _text(name), _text(method))
        series = record.of(SeriesKey(made.kind[:20], made.name, made.method))
        for at, number in zip(numbers[::2], numbers[1::2], strict=True):
            if not 0 <= at < SIZE:
                raise ValueError(at)
            series.numbers[at] += _amount(number)
        series.budget = None if budget is None else int(_amount(budget))
        for sql, place, digest, count, seconds in shapes:
            shape = ShapeAt(_text(sql), _text(place), _text(digest))
            record.add_shape(series, shape, Cost(int(_amount(count)), _amount(seconds)))
        for what, text, place_, times, advice in remarks:
            remark = Remark(_text(what), _text(text), _text(place_))
            said = Said(int(_amount(times)), _text(advice, LONGEST_ADVICE))
            record.add_remark(series, remark, said)
    return record


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
