"""Charts as numbers for inline SVG: every length is text that no language setting changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .measures import Measure
from .reading import Point

__all__ = ["Bar", "Trend", "histogram", "trend"]

WIDTH, HEIGHT = 720, 120


@dataclass(frozen=True)
class Trend:
    """A line of the databases' time, and the area under it."""

    line: str
    area: str
    most: float
    """The largest value, in milliseconds of database time a second."""
    begin: str
    end: str
    requests: int

    width: int = WIDTH
    height: int = HEIGHT


def trend(points: Sequence[Point]) -> Trend:
    """Return the trend of the database time, as load: milliseconds in each second."""
    span = points[1].started - points[0].started if len(points) > 1 else 60
    loads = [point.seconds * 1000 / span for point in points]
    most = max(loads, default=0.0)
    step = WIDTH / max(1, len(points) - 1)
    places = [
        f"{at * step:.1f},{HEIGHT - (load / most * (HEIGHT - 4) if most else 0):.1f}"
        for at, load in enumerate(loads)
    ]
    line = " ".join(places)
    return Trend(
        line=line,
        area=f"0,{HEIGHT} {line} {WIDTH},{HEIGHT}",
        most=most,
        begin=_clock(points[0].started) if points else "",
        end=_clock(points[-1].started + span) if points else "",
        requests=sum(point.requests for point in points),
    )


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


def histogram(measure: Measure, numbers: Sequence[float], *, factor: float = 1) -> list[Bar]:
    """Return the buckets from the first to the last that has values; bounds times ``factor``."""
    buckets = measure.buckets(numbers)
    whole, most = sum(buckets), max(buckets)
    used = [at for at, count in enumerate(buckets) if count]
    bars: list[Bar] = []
    for at in range(used[0], used[-1] + 1) if used else ():
        over = at == len(measure.bounds)
        bound = measure.bounds[at - 1 if over else at] * factor
        bars.append(
            Bar(
                label=f"> {bound:g}" if over else f"≤ {bound:g}",
                count=buckets[at],
                share=buckets[at] / whole,
                length=f"{buckets[at] / most * 100:.1f}",
            )
        )
    return bars
