"""A record as bytes: :func:`encoded`; :mod:`.decoding` reads it.

A head, and a compressed line for each series: a row of numbers as JSON, a tab, and its shapes and
remarks as JSON, which whoever does not want them need not parse. Neither writing nor reading ever
holds more than a line of text besides the record.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

from .record import Record, Series, SeriesKey

__all__ = ["FORMAT", "HEAD", "Courses", "Packer", "encoded"]

FORMAT = 5
"""Raise it with every change of the measures or their bounds: others' records are not read."""

HEAD = b"querybudget-record %d\n" % FORMAT
MOST_BYTES = 256 * 1024
"""What a record may be, in bytes."""

Courses = Mapping[tuple[str, SeriesKey], Sequence[float]]
"""By release and series: see :attr:`.decoding.DecodedSeries.course`."""


def encoded(
    records: Mapping[str, Record], courses: Courses | None = None, *, most: int = MOST_BYTES
) -> bytes:
    """Return records by release as bytes; without shapes and remarks, if they would be too many."""
    for details in (True, False):
        packer = Packer(most)
        for release, record in records.items():
            for key, series in record.series.items():
                course = courses.get((release, key), ()) if courses else ()
                packer.add(_line(release, key, series, course, details).encode("utf-8", "replace"))
        if made := packer.finished():
            return made
    return b""


class Packer:
    """Compresses lines one by one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._packing = zlib.compressobj(1)
        self._pieces = [HEAD]
        self._bytes = len(HEAD)

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


def _line(
    release: str, key: SeriesKey, series: Series, course: Sequence[float], details: bool
) -> str:
    numbers = [(at, _short(each)) for at, each in enumerate(series.numbers) if each]
    flat = [part for pair in numbers for part in pair]
    line = _json([release, *key, series.budget, flat, list(map(_short, course))])
    if not details or not (series.shapes or series.remarks):
        return line
    shapes = [[*each, cost.queries, round(cost.seconds, 6)] for each, cost in series.costliest()]
    return f"{line}\t{_json([shapes, [[*each, *said] for each, said in series.remarks.items()]])}"


_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _short(number: float) -> float:
    return int(number) if number == int(number) else round(number, 6)
