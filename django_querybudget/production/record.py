"""A record of fixed size: :class:`Record` has a :class:`Series` for each view, task and command.

Whatever comes, a record has at most :data:`MOST_SERIES` series (what comes after them is counted
under :data:`OTHER`) and :data:`SHAPE_BYTES` of shapes.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from sys import getsizeof
from typing import NamedTuple

from .measures import EVERYTHING, REQUESTS, SIZE

__all__ = [
    "LONGEST_NAME",
    "MOST_SERIES",
    "OTHER",
    "Cost",
    "Record",
    "Remark",
    "Said",
    "Series",
    "SeriesKey",
    "ShapeAt",
    "series_key",
]

MOST_SERIES = 500
LONGEST_NAME = 200
"""A name's length, in characters."""
MOST_SHAPES = 8
"""So many shapes of a series are kept, those that took the database longest."""
SHAPE_BYTES = 512 * 1024
"""What the shapes of one record hold at most, in bytes."""
MOST_REMARKS = 6
"""So many remarks of a kind are kept of a series; bypasses for other reasons are one remark."""
REMARK_BYTES = 128 * 1024
"""What the remarks of one record hold at most, in bytes; past it no new one is kept."""
LONGEST_ADVICE = 1_000
"""In characters; a longer one is left out, since half a line is none."""

_SHAPE = 420  # Bytes of a shape besides its texts: tuple, numbers, its places in dicts.
_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)


class SeriesKey(NamedTuple):
    """Of what a series is."""

    kind: str
    """``"view"``, ``"task"``, ``"command"``, ``"message"``; ``"other"`` for what found no place."""
    name: str
    """A view's name or route, a task's or a command's name; never a path."""
    method: str = ""
    """A view's method: one of HTTP's, or ``"other"``, since a client may invent them."""

    @property
    def title(self) -> str:
        """What a person reads: ``"GET jobs:list"``."""
        return f"{self.method or self.kind} {self.name}"


OTHER = SeriesKey("other", "other")
"""All that came when there was no place for more series."""


def series_key(kind: str, name: str, method: str = "") -> SeriesKey:
    """Return the key of a series: its name cut and printable, its method one of the standard's."""
    # Before it is remembered: a client may send any method, of any length.
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 1]}…"
    if method and method not in _METHODS:
        method = "other"
    return _series_key(kind, name, method)


@lru_cache(maxsize=MOST_SERIES)
def _series_key(kind: str, name: str, method: str) -> SeriesKey:
    if not name.isprintable():
        name = "".join(each if each.isprintable() else "�" for each in name)
    return SeriesKey(kind, name, method)


class ShapeAt(NamedTuple):
    """A shape of queries, and the line that they come from."""

    sql: str
    """The fingerprint, shortened."""
    place: str
    """``jobs/views.py:31``; empty where it is not known."""
    digest: str = ""
    """What joins it to the database's own statistics: see :mod:`django_querybudget.sql.digests`."""


class Remark(NamedTuple):
    """What was found of requests: N+1 queries, or why a cached read went to the database."""

    kind: str
    """``"nplusone"`` or ``"bypass"``."""
    text: str
    """``load Application.job row by row``; the reason of the bypass."""
    place: str = ""
    """The line that runs the queries; empty where it is not known."""


class Said(NamedTuple):
    """How often a remark was made."""

    times: int
    """How many requests had the N+1 queries; how many reads were bypassed."""
    advice: str = ""
    """What to write, as a report prints it; empty where nothing is known."""


class Cost(NamedTuple):
    """What the queries of one shape at one line came to."""

    queries: int
    seconds: float
    """In the database."""

    def plus(self, other: Cost) -> Cost:
        """Return both together."""
        return Cost(self.queries + other.queries, self.seconds + other.seconds)


_TOTALS = {each.name: each.total for each in EVERYTHING}
_SECONDS = _TOTALS["database_seconds"]


class Series:
    """What is known of one view and method, one task or one command."""

    __slots__ = ("budget", "numbers", "remarks", "shapes")

    def __init__(self) -> None:
        self.numbers = array("d", bytes(8 * SIZE))
        """See :mod:`.measures`."""
        self.shapes: dict[ShapeAt, Cost] = {}
        self.remarks: dict[Remark, Said] = {}
        self.budget: int | None = None
        """How many queries its budget allowed when it was last asked for; None without one."""

    @property
    def requests(self) -> int:
        """How often it was asked for."""
        return int(self.numbers[REQUESTS])

    @property
    def seconds(self) -> float:
        """How long the databases took for it in all, in seconds."""
        return self.numbers[_SECONDS]

    def total(self, measure: str) -> float:
        """Return the sum of a measure, or a counter."""
        return self.numbers[_TOTALS[measure]]

    def add_numbers(self, other: Series) -> None:
        """Add another's numbers, and take over its budget."""
        mine = self.numbers
        for place, number in enumerate(other.numbers):
            if number:
                mine[place] += number
        if other.budget is not None:
            self.budget = other.budget

    def costliest(self) -> list[tuple[ShapeAt, Cost]]:
        """Return its shapes, those first that took the database longest."""
        return sorted(self.shapes.items(), key=lambda item: -item[1].seconds)[:MOST_SHAPES]

    def remarked(self, kind: str) -> list[tuple[Remark, Said]]:
        """Return its remarks of a kind, the most frequent first."""
        found = [item for item in self.remarks.items() if item[0].kind == kind]
        return sorted(found, key=lambda item: (-item[1].times, item[0]))


class Record:
    """Series by key, bounded. Not safe to use from several threads."""

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}
        """What is known of each view, task and command."""
        self._shape_bytes = self._remark_bytes = 0

    def of(self, key: SeriesKey) -> Series:
        """Return the series of ``key``, made if there is place for it; else that of all others."""
        found = self.series.get(key)
        if found is None:
            if len(self.series) >= MOST_SERIES - 1 and key != OTHER:
                return self.of(OTHER)
            found = self.series[key] = Series()
        return found

    def merge(self, other: Record, *, details: bool = True) -> None:
        """Add all of ``other``; its shapes and remarks only with ``details``."""
        for key, theirs in other.series.items():
            mine = self.of(key)
            mine.add_numbers(theirs)
            if details:
                self.add_details(mine, theirs)

    def add_details(self, mine: Series, theirs: Series) -> None:
        """Add the shapes and the remarks of ``theirs`` to a series of this record."""
        for shape, cost in theirs.shapes.items():
            self.add_shape(mine, shape, cost)
        for remark, said in theirs.remarks.items():
            self.add_remark(mine, remark, said)

    def add_remark(self, series: Series, remark: Remark, said: Said) -> None:
        """Add a remark that was made so often, cut to its bounds."""
        remark = Remark(remark.kind, remark.text[:LONGEST_NAME], remark.place[-LONGEST_NAME:])
        known = series.remarks.get(remark)
        if known is None:
            of_kind = sum(each.kind == remark.kind for each in series.remarks)
            if of_kind >= MOST_REMARKS - 1 and remark.kind == "bypass":
                remark = Remark("bypass", "others")
                known = series.remarks.get(remark)
            elif of_kind >= MOST_REMARKS:
                return
        if known is not None:
            series.remarks[remark] = Said(known.times + said.times, known.advice or said.advice)
            return
        advice = said.advice if len(said.advice) <= LONGEST_ADVICE else ""
        weight = _SHAPE + getsizeof(remark.text) + getsizeof(remark.place) + getsizeof(advice)
        if self._remark_bytes + weight <= REMARK_BYTES:
            self._remark_bytes += weight
            series.remarks[remark] = Said(said.times, advice)

    def add_shape(self, series: Series, shape: ShapeAt, cost: Cost) -> None:
        """Add what a shape cost; the cheapest are forgotten where there are too many."""
        known = series.shapes.get(shape)
        if known is not None:
            series.shapes[shape] = known.plus(cost)
            return
        series.shapes[shape] = cost
        self._shape_bytes += _weight(shape)
        if len(series.shapes) >= 2 * MOST_SHAPES:
            self._keep(series, {shape for shape, _ in series.costliest()})
        if self._shape_bytes > SHAPE_BYTES:
            self._drop_the_cheapest()

    def _keep(self, series: Series, kept: set[ShapeAt]) -> None:
        dropped = [shape for shape in series.shapes if shape not in kept]
        self._shape_bytes -= sum(map(_weight, dropped))
        series.shapes = {shape: cost for shape, cost in series.shapes.items() if shape in kept}

    def _drop_the_cheapest(self) -> None:
        """Forget shapes until three quarters of the bytes are left."""
        ranked = sorted(
            (
                (cost.seconds, number, shape)
                for number, series in enumerate(self.series.values())
                for shape, cost in series.shapes.items()
            ),
            reverse=True,
        )
        left, kept = SHAPE_BYTES * 3 // 4, 0
        while kept < len(ranked) and (left := left - _weight(ranked[kept][2])) > 0:
            kept += 1
        by_series: dict[int, set[ShapeAt]] = {}
        for _, number, shape in ranked[:kept]:
            by_series.setdefault(number, set()).add(shape)
        for number, series in enumerate(self.series.values()):
            self._keep(series, by_series.get(number, set()))


def _weight(shape: ShapeAt) -> int:
    return _SHAPE + sum(map(getsizeof, shape))
