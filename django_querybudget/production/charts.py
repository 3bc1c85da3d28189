"""Charts as numbers for inline SVG: every length is text that no language setting changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor, log10

from .blocks import Course
from .measures import Measure

__all__ = ["Bar", "Mark", "Trend", "histogram", "sparkline", "trend"]

WIDTH, HEIGHT = 720, 160
SPARK_POINTS = 30


@dataclass(frozen=True)
class Mark:
    """A moment in a trend."""

    at: str
    """Of the width, for SVG."""
    share: str
    """The same as a percentage."""
    is_late: bool
    """Whether there is more place before it than after it."""
    label: str


@dataclass(frozen=True)
class Trend:
    """A line of the databases' time, and the area under it."""

    line: str
    area: str
    most: float
    """The largest value, in milliseconds of database time a second."""
    mean: float
    top: str
    """The value at the upper edge: ``most``, rounded up."""
    half: str
    """That at half of the height."""
    begin: str
    end: str
    requests: int
    marks: tuple[Mark, ...]

    width: int = WIDTH
    height: int = HEIGHT


def trend(course: Course, starts: range, marks: Mapping[str, int]) -> Trend:
    """Return the trend of the database time, as load: milliseconds in each second.

    ``starts`` are when the intervals began, in seconds since 1970; so are the moments of ``marks``,
    by their labels. Those outside are left out.
    """
    loads = [seconds * 1000 / starts.step for seconds in course.seconds]
    most = max(loads, default=0.0)
    top = _rounded_up(most)
    places = " ".join(_places(loads, top, WIDTH, HEIGHT))
    whole = max(1, len(starts) - 1) * starts.step
    return Trend(
        line=places,
        area=f"0,{HEIGHT} {places} {WIDTH},{HEIGHT}",
        most=most,
        mean=sum(loads) / len(loads) if loads else 0.0,
        top=f"{top:g}",
        half=f"{top / 2:g}",
        begin=_clock(starts.start),
        end=_clock(starts.stop),
        requests=round(sum(course.requests)),
        marks=tuple(
            _mark((moment - starts.start) / whole, label)
            for label, moment in marks.items()
            if 0 < moment - starts.start < whole
        ),
    )


def _mark(share: float, label: str) -> Mark:
    return Mark(f"{share * WIDTH:.1f}", f"{share * 100:.2f}%", share > 0.5, label)


def sparkline(course: Course) -> str:
    """Return the places of a small line, of a box of 100 by 20."""
    seconds = course.seconds
    step = -(-len(seconds) // SPARK_POINTS) or 1
    sums = [sum(seconds[at : at + step]) for at in range(0, len(seconds), step)]
    return " ".join(_places(sums, max(sums, default=0.0), 100, 18))


def _places(values: Sequence[float], top: float, width: int, height: int) -> list[str]:
    step = width / max(1, len(values) - 1)
    places = [
        f"{at * step:.1f},{height - (value / top * (height - 2) if top else 0):.1f}"
        for at, value in enumerate(values)
    ]
    return [*places, f"{width},{places[0].partition(',')[2]}"] if len(places) == 1 else places


def _rounded_up(value: float) -> float:
    """Return the first of 1, 2, 5, 10, … that is no less."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** floor(log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999)


def _clock(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %H:%M UTC")


@dataclass(frozen=True)
class Bar:
    """One bucket of a histogram."""

    label: str
    count: int
    share: float
    length: str
    """Of 100, for SVG."""
    over: bool = False
    """Whether all its values are above what is allowed."""


def histogram(
    measure: Measure, numbers: Sequence[float], *, factor: float = 1, limit: float | None = None
) -> list[Bar]:
    """Return the buckets from the first to the last that has values; bounds times ``factor``.

    ``limit`` is what is allowed, in the measure's own unit.
    """
    buckets = measure.buckets(numbers)
    whole, most = sum(buckets), max(buckets)
    used = [at for at, count in enumerate(buckets) if count]
    return [
        Bar(
            label=_bucket(measure.bounds, at, factor),
            count=buckets[at],
            share=buckets[at] / whole,
            length=f"{buckets[at] / most * 100:.1f}",
            over=limit is not None and at > 0 and measure.bounds[at - 1] >= limit,
        )
        for at in (range(used[0], used[-1] + 1) if used else ())
    ]


def _bucket(bounds: Sequence[float], at: int, factor: float) -> str:
    if at == len(bounds):
        return f"> {bounds[-1] * factor:g}"
    high = f"{bounds[at] * factor:g}"
    if at == 0:
        return high if bounds[0] == 0 else f"≤ {high}"
    low = bounds[at - 1]
    whole = all(bound == int(bound) for bound in bounds)
    if whole and bounds[at] - low == 1:
        return high
    return f"{low + 1:g} to {high}" if whole else f"{low * factor:g} to {high}"
