"""What all processes have recorded: :func:`read_picture` puts it together again."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import cached_property

from django_querybudget.conf import conf

from .encoding import decoded, merge_into
from .record import Record, SeriesKey
from .store import HOUR, MINUTE, Span, store_on

__all__ = ["Picture", "Point", "Unreadable", "parse_duration", "picture_of", "read_picture"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MOST_SECONDS = HOUR.kept


@dataclass(slots=True)
class Point:
    """One interval of a trend."""

    started: int
    """In seconds since 1970."""
    requests: int = 0
    queries: float = 0.0
    seconds: float = 0.0


@dataclass
class Picture:
    """What was recorded between two moments."""

    since: int
    """In seconds since 1970; the start of the first interval."""
    until: int
    releases: dict[str, Record] = field(default_factory=dict)
    """By release, in the order in which they came; "" is that of who names none."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """When each release was recorded first and last: the intervals' starts."""
    trend: list[Point] = field(default_factory=list)
    """All series together, the oldest interval first."""
    trends: dict[SeriesKey, list[Point]] = field(default_factory=dict)
    """The same of each series, as long."""

    @cached_property
    def whole(self) -> Record:
        """All releases together."""
        record = Record()
        for each in self.releases.values():
            record.merge(each)
        return record

    @property
    def seconds(self) -> float:
        """How long the databases took in all, in seconds."""
        return sum(point.seconds for point in self.trend)


def read_picture(seconds: int, *, now: float | None = None) -> Picture:
    """Return the picture of the last so many seconds.

    By minute where those are still kept, by hour else; shapes and remarks always come from the
    hours that touch it. Raises what the cache raises.
    """
    until = int(time.time() if now is None else now)
    seconds = max(60, min(seconds, MOST_SECONDS))
    span = MINUTE if seconds <= MINUTE.kept else HOUR
    # The interval that runs is one of them.
    first = (until - seconds) // span.seconds + 1
    picture = Picture(since=first * span.seconds, until=until)
    _add(picture, span, range(first, until // span.seconds + 1))
    if span is MINUTE:
        _add_details(picture, range(picture.since // HOUR.seconds, until // HOUR.seconds + 1))
    return picture


def _add(picture: Picture, span: Span, numbers: range) -> None:
    found = _read(span, numbers)
    for at, number in enumerate(numbers):
        started = number * span.seconds
        whole = Point(started)
        picture.trend.append(whole)
        for records in found.get(number, ()):
            merge_into(picture.releases, records)
            for release in records:
                first = picture.seen.get(release, (started, started))[0]
                picture.seen[release] = first, started
            for record in records.values():
                for key, series in record.series.items():
                    if key not in picture.trends:
                        begun = (each * span.seconds for each in numbers)
                        picture.trends[key] = [Point(each) for each in begun]
                    for point in (whole, picture.trends[key][at]):
                        point.requests += series.requests
                        point.queries += series.total("queries")
                        point.seconds += series.seconds


def _add_details(picture: Picture, hours: range) -> None:
    for each in _read(HOUR, hours).values():
        for records in each:
            for release, record in records.items():
                into = picture.releases.get(release)
                for key, series in record.series.items():
                    if into is not None and key in into.series:
                        into.add_details(into.series[key], series)


def _read(span: Span, numbers: range) -> dict[int, list[dict[str, Record]]]:
    """Return the records of each interval, one for each process that wrote one."""
    store = store_on(conf.PRODUCTION.ALIAS)
    keys = store.keys_of(span, numbers)
    found = store.read(keys)
    slots = len(keys) // len(numbers) if numbers else 0
    records: dict[int, list[dict[str, Record]]] = {}
    for at, key in enumerate(keys):
        if key in found and (read := decoded(found[key])):
            records.setdefault(numbers[at // slots], []).append(read)
    return records


class Unreadable(Exception):
    """Why there is no picture, and the way out."""


def picture_of(seconds: int) -> Picture:
    """Return the picture of the last so many seconds. Raises :class:`Unreadable`."""
    if conf.PRODUCTION.written() is None:
        raise Unreadable(
            'Nothing is recorded: add "PRODUCTION": {} to QUERYBUDGET, and restart the site.'
        )
    try:
        return read_picture(seconds)
    except Exception as error:  # a cache may raise anything
        raise Unreadable(
            f"The cache {conf.PRODUCTION.ALIAS!r} cannot be read: {type(error).__name__}: {error}"
        ) from error


def parse_duration(text: str) -> int:
    """Return the seconds of ``"90s"``, ``"30m"``, ``"6h"``, ``"2d"`` or ``"1w"``.

    Raises ``ValueError`` for anything else, and for what is no longer kept.
    """
    parsed = re.fullmatch(r"([0-9]{1,6})([smhdw])", text, re.ASCII)
    seconds = int(parsed[1]) * _UNITS[parsed[2]] if parsed else 0
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(
            f"{text!r} is no time of 1s to 14d; write a number and s, m, h, d or w: 30m, 6h, 2d."
        )
    return seconds
