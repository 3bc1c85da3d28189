"""What is measured of each request: :data:`MEASURES`, histograms of fixed buckets.

The numbers of one series stand in one flat array: at index 0 how many requests there were, then
for each measure the sum of its values and its buckets, then :data:`COUNTERS`, which are counted
after a request, when its own values are told already. Bucket *n* counts the values up to the bound
*n* and above the one before; the last counts those above all bounds. A value that is not known (the
rows of a driver that does not tell) is in no bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "COUNTERS",
    "EVERYTHING",
    "MEASURES",
    "REQUESTS",
    "SIZE",
    "Counter",
    "Measure",
    "measure",
    "observe",
]

REQUESTS = 0
"""Where the number of requests stands."""


class Measure(NamedTuple):
    """One histogram, and where it stands among the numbers."""

    name: str
    """Its name in the record, and in the exporters'."""
    title: str
    """What a person reads."""
    bounds: tuple[float, ...]
    """The upper bounds of its buckets, both included; the last bucket has none."""
    total: int
    """Where the sum of its values stands."""

    @property
    def first(self) -> int:
        """Where its first bucket stands."""
        return self.total + 1

    @property
    def end(self) -> int:
        """Where its last bucket ends."""
        return self.first + len(self.bounds) + 1

    def buckets(self, numbers: Sequence[float]) -> list[int]:
        """Return how many values each bucket has."""
        return [int(each) for each in numbers[self.first : self.end]]

    def known(self, numbers: Sequence[float]) -> int:
        """Return how many values there are."""
        return sum(self.buckets(numbers))

    def mean(self, numbers: Sequence[float]) -> float:
        """Return the mean of the values; 0 where there are none."""
        known = self.known(numbers)
        return numbers[self.total] / known if known else 0.0

    def above_zero(self, numbers: Sequence[float]) -> int:
        """Return how many values are not 0, of a measure whose first bound is 0."""
        return sum(self.buckets(numbers)[1:])

    def certainly_above(self, numbers: Sequence[float], limit: float) -> int:
        """Return how many values are in buckets that lie above ``limit`` whole."""
        buckets = self.buckets(numbers)
        return sum(held for held, low in zip(buckets[1:], self.bounds, strict=True) if low >= limit)

    def bound_of(self, numbers: Sequence[float], share: float) -> float | None:
        """Return the first bound that ``share`` of the values do not exceed; None if none is."""
        wanted, below = share * self.known(numbers), 0
        for held, bound in zip(self.buckets(numbers), self.bounds, strict=False):
            below += held
            if below >= wanted:
                return bound
        return None

    def quantile(self, numbers: Sequence[float], share: float) -> float:
        """Return the value that ``share`` of the values do not exceed, within its bucket's width.

        Read along a straight line between a bucket's two bounds, as Prometheus does; of the last
        bucket, its lower bound. 0 where there are no values.
        """
        buckets = self.buckets(numbers)
        wanted = share * sum(buckets)
        below = 0
        for number, held in enumerate(buckets):
            if held and below + held >= wanted:
                if number == len(self.bounds):
                    return self.bounds[-1]
                low = self.bounds[number - 1] if number else 0.0
                return low + (self.bounds[number] - low) * (wanted - below) / held
            below += held
        return 0.0


def _laid_out(*rows: tuple[str, str, tuple[float, ...]]) -> tuple[Measure, ...]:
    measures: list[Measure] = []
    place = REQUESTS + 1
    for name, title, bounds in rows:
        measures.append(Measure(name, title, bounds, place))
        place = measures[-1].end
    return tuple(measures)


MEASURES = _laid_out(
    ("queries", "queries", (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
    (
        "database_seconds",
        "seconds in the database",
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    ),
    ("rows", "rows fetched, where the driver tells", (0, 10, 100, 1000, 10_000, 100_000)),
    ("duplicates", "duplicate queries", (0, 1, 5, 20, 100)),
    ("nplusone", "N+1 findings", (0, 1, 5)),
    ("violations", "exceeded dimensions of the budget", (0, 1, 2)),
    ("cache_hits", "cache hits", (0, 1, 5, 20)),
    ("cache_misses", "cache misses", (0, 1, 5, 20)),
    ("cache_bypasses", "cached reads that went to the database", (0, 1, 5, 20)),
)
"""In the order in which :func:`observe` takes their values."""

_BY_NAME = {each.name: each for each in MEASURES}


def measure(name: str) -> Measure:
    """Return the measure of that name."""
    return _BY_NAME[name]


class Counter(NamedTuple):
    """A number of a series that is of no request."""

    name: str
    """Its name in the record, and in the exporters'."""
    title: str
    """What a person reads."""
    total: int
    """Where it stands."""


COUNTERS = (
    Counter("cache_audited", "cache hits that the audit has compared", MEASURES[-1].end),
    Counter("cache_stale", "of those, answers that were stale", MEASURES[-1].end + 1),
)

EVERYTHING: tuple[Measure | Counter, ...] = (*MEASURES, *COUNTERS)

SIZE = COUNTERS[-1].total + 1
"""How many numbers a series has."""

_PLACES = tuple((each.total, each.first, each.bounds) for each in MEASURES)


def observe(numbers: list[float] | Sequence[float], values: Sequence[float | None]) -> None:
    """Add one request, with a value for each measure; None for what is not known."""
    into: list[float] = numbers  # type: ignore[assignment]  # an array, which has no common type
    into[REQUESTS] += 1
    for (total, first, bounds), value in zip(_PLACES, values, strict=True):
        if value:
            into[total] += value
            into[first + bisect_left(bounds, value)] += 1
        elif value is not None:
            into[first] += 1
