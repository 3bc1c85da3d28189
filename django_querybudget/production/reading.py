"""What all processes have recorded: :func:`read_picture` puts it together again."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

from django_querybudget.conf import conf

from .blocks import Course, Gathered, gathered
from .decoding import Wanted
from .record import Record, SeriesKey
from .store import HOUR, MINUTE, Span, store_on

__all__ = ["Picture", "Unreadable", "parse_duration", "picture_of", "read_picture"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MOST_SECONDS = HOUR.kept


@dataclass
class Picture:
    """What was recorded between two moments."""

    since: int
    """In seconds since 1970; the start of the first interval."""
    until: int
    step: int
    """The length of an interval, in seconds."""
    releases: dict[str, Record] = field(default_factory=dict)
    """By release, in the order in which they came; "" is that of who names none."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """When each release was recorded first and last: the intervals' starts."""
    trend: Course = field(default_factory=lambda: Course(0))
    """All series together."""
    trends: dict[SeriesKey, Course] = field(default_factory=dict)
    """Each of them."""

    @cached_property
    def whole(self) -> Record:
        """All releases together."""
        if len(self.releases) == 1:
            return next(iter(self.releases.values()))
        record = Record()
        for each in self.releases.values():
            record.merge(each)
        return record

    @property
    def seconds(self) -> float:
        """How long the databases took in all, in seconds."""
        return sum(self.trend.seconds)

    def starts(self) -> range:
        """Return when each interval began, in seconds since 1970."""
        return range(self.since, self.since + self.step * len(self.trend.requests), self.step)


def read_picture(
    seconds: int, *, wanted: Wanted = True, now: float | None = None, keep: bool = True
) -> Picture:
    """Return the picture of the last so many seconds, with the shapes and remarks that are wanted.

    By minute where those are still kept, by hour else; shapes and remarks always come from the
    hours that touch it. What took long to add up is kept in the cache for the next reader; without
    ``keep`` nothing is written. Raises what the cache raises.
    """
    until = int(time.time() if now is None else now)
    seconds = max(60, min(seconds, MOST_SECONDS))
    span = MINUTE if seconds <= MINUTE.kept else HOUR
    # The interval that runs is one of them.
    numbers = range((until - seconds) // span.seconds + 1, until // span.seconds + 1)
    store = store_on(conf.PRODUCTION.ALIAS)
    found = gathered(store, span, numbers, until, wanted if span is HOUR else False, keep=keep)
    picture = _drawn(found, numbers, span, until)
    if span is MINUTE and wanted is not False:
        hours = range(picture.since // HOUR.seconds, until // HOUR.seconds + 1)
        details = gathered(store, HOUR, hours, until, wanted, keep=keep)
        for release, record in details.releases.items():
            into = picture.releases.get(release)
            for key, series in record.series.items():
                if into is not None and key in into.series:
                    into.add_details(into.series[key], series)
    return picture


def _drawn(found: Gathered, numbers: range, span: Span, until: int) -> Picture:
    by_release: defaultdict[str, list[Course]] = defaultdict(list)
    by_key: defaultdict[SeriesKey, list[Course]] = defaultdict(list)
    for (release, key), course in found.courses.items():
        by_release[release].append(course)
        by_key[key].append(course)
    length = len(numbers)
    whole = {release: Course.sum(courses, length) for release, courses in by_release.items()}
    picture = Picture(numbers.start * span.seconds, until, span.seconds)
    picture.trends = {key: Course.sum(courses, length) for key, courses in by_key.items()}
    picture.trend = Course.sum(whole.values(), length)
    starts = picture.starts()
    for release, course in whole.items():
        held = [start for start, each in zip(starts, course.requests, strict=True) if each]
        if held:
            picture.seen[release] = held[0], held[-1]
    picture.releases = {
        release: found.releases[release]
        for release in sorted(picture.seen, key=picture.seen.__getitem__)
    }
    return picture


class Unreadable(Exception):
    """Why there is no picture, and the way out."""


def picture_of(seconds: int, wanted: Wanted = True) -> Picture:
    """Return what :func:`read_picture` does. Raises :class:`Unreadable`."""
    if conf.PRODUCTION.written() is None:
        raise Unreadable(
            'Nothing is recorded: add "PRODUCTION": {} to QUERYBUDGET, and restart the site.'
        )
    try:
        return read_picture(seconds, wanted=wanted)
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
