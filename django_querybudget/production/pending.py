"""What requests have added since the last flush: :class:`Pending`, the only part on their path.

A request is put down as it is, without its parameters. Some dozens of them are added up at once:
what runs once in a while, between queries, takes twice the time of what runs in a row. Shapes are
kept by text, function and instruction: fingerprints and line numbers are worked out when they
are taken away, off the request's path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import getsizeof
from typing import TYPE_CHECKING

from django_querybudget.sql.digests import statement_digest
from django_querybudget.sql.fingerprints import StatementKind, fingerprint, statement_kind
from django_querybudget.sql.shortening import shortened
from django_querybudget.stacks import Origin, RawOrigin

from .exporting import Increment, Observation, QueryKind
from .measures import observe
from .record import (
    LONGEST_NAME,
    MOST_SERIES,
    Cost,
    Record,
    Remark,
    Said,
    Series,
    SeriesKey,
    ShapeAt,
)

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

__all__ = ["Pending"]

TEXT_BYTES = 192 * 1024
"""What the statements of the shapes hold at most, in bytes; past it no new shape is noted."""
WAITING = 64 * 1024
"""So many characters of statements wait at most to be added up."""
_LONGEST = 2_000
"""A longer statement is known by its beginning."""
_ENTRY = 300
_REQUEST = 250


class Pending:
    """A record in the making. Not safe to use from several threads."""

    def __init__(
        self,
        names: dict[SeriesKey, SeriesKey] | None = None,
        *,
        requests: bool = False,
        queries: bool = False,
    ) -> None:
        """Begin; ``names`` are those of the ones before, which are not to be kept twice.

        ``requests`` and ``queries`` are whether an exporter wants each of them.
        """
        self._names = {} if names is None else names
        self._increment = Increment()
        self._record = self._increment.record
        self._requests, self._queries = requests, queries
        # Requests that are not added up yet: their queries by column, without their parameters.
        self._waiting: list[_Request] = []
        self._characters = 0
        self._series: dict[SeriesKey, tuple[Series, _Costs]] = {}
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be taken away soon."""
        return self._bytes > TEXT_BYTES // 2 or self._increment.is_full

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._waiting and not self._record.series

    @property
    def record(self) -> Record:
        """What was added, still without its shapes."""
        self._add_up()
        return self._record

    @property
    def increment(self) -> Increment:
        """The same, for the exporters."""
        self._add_up()
        return self._increment

    def add(
        self,
        key: SeriesKey,
        values: Sequence[float | None],
        raws: Sequence[RawRecord],
        budget: int | None,
        remarks: Sequence[tuple[Remark, Said]] = (),
    ) -> None:
        """Add one request."""
        queries: _Queries = _NO_QUERIES
        if raws:
            # By position, as RawRecord has them: a record made of columns, request after request,
            # has a process hold 260 kB more (CPython keeps freed tuples for the next).
            sqls, _, _, aliases, vendors, _, durations, errors, origins, *_ = zip(
                *raws, strict=True
            )
            self._characters += sum(map(len, sqls)) + _ENTRY * len(sqls)
            told = zip(sqls, aliases, vendors, errors, strict=True) if self._queries else ()
            queries = sqls, origins, durations, told
        self._characters += _REQUEST
        if remarks:
            self._characters += sum(_ENTRY + len(each.text) + len(s.advice) for each, s in remarks)
        self._waiting.append((key, values, budget, remarks, queries))
        if self._characters > WAITING:
            self._add_up()

    def count(self, key: SeriesKey, place: int, number: int) -> None:
        """Add to one of :data:`.measures.COUNTERS`, by its place."""
        series, _ = self._series.get(key) or self._series_of(key)
        series.numbers[place] += number

    def _add_up(self) -> None:
        waiting, self._waiting, self._characters = self._waiting, [], 0
        for key, values, budget, remarks, (sqls, origins, durations, told) in waiting:
            series, costs = self._series.get(key) or self._series_of(key)
            observe(series.numbers, values)
            if budget is not None:
                series.budget = budget
            if self._requests:
                self._increment.observe(Observation(key, values))
            if told:
                self._add_queries(told, durations)
            if costs is not None:
                for remark, said in remarks:
                    self._record.add_remark(series, remark, said)
                self._add_costs(costs, sqls, origins, durations)

    def _series_of(self, key: SeriesKey) -> tuple[Series, _Costs | None]:
        """Return the series of ``key``, and its shapes; those of "other" say nothing."""
        key = self._names.get(key, key)
        if len(self._names) < MOST_SERIES:
            self._names[key] = key
        series = self._record.of(key)
        if self._record.series.get(key) is not series:
            return series, None  # not remembered: there may be any number of such
        costs: _Costs = {}
        self._series[key] = series, costs
        return series, costs

    def _add_queries(self, told: Iterable[_Told], durations: Iterable[float]) -> None:
        queries, add = self._increment.queries, self._increment.add_queries
        for kind, seconds in zip(told, durations, strict=True):
            # What is known was not cut, and is no transaction's.
            if kind in queries or statement_kind(kind[0]) is not StatementKind.TRANSACTION:
                add(QueryKind(kind[0][:_LONGEST], *kind[1:]), (seconds,))

    def _add_costs(
        self,
        costs: _Costs,
        sqls: Iterable[str],
        origins: Iterable[RawOrigin | None],
        durations: Iterable[float],
    ) -> None:
        for sql, origin, seconds in zip(sqls, origins, durations, strict=True):
            text = costs.get(sql)
            # One text comes from one line, nearly always: no key of both is made and hashed. And by
            # position, which costs less than a name: this runs for every query.
            if text is not None and (
                origin is text.origin
                or (origin and origin[0] is text.code and origin[1] == text.instruction)
            ):
                text.queries += 1
                text.seconds += seconds
            else:
                self._add_elsewhere(costs, sql, origin, seconds)

    def _add_elsewhere(
        self, costs: _Costs, sql: str, origin: RawOrigin | None, seconds: float
    ) -> None:
        """Add a query whose text is new, is long, or came from another line before."""
        if len(sql) > _LONGEST:
            sql = sql[:_LONGEST]
        first = costs.get(sql)
        at: str | tuple[str, int, int] = sql
        if first is not None and not first.is_at(origin):
            at = (sql, *((0, 0) if origin is None else (id(origin.code), origin.instruction)))
        text = costs.get(at)
        if text is not None:
            text.queries += 1
            text.seconds += seconds
        elif self._bytes < TEXT_BYTES:
            self._bytes += _ENTRY + (getsizeof(sql) if first is None else 0)
            costs[at] = _Text(origin, seconds)

    def add_shapes_to(self, record: Record) -> None:
        """Add the shapes to another record, and keep them no more."""
        self._add_up()
        while self._series:
            key, (_, costs) = self._series.popitem()
            series = record.of(key)
            for at, text in costs.items():
                sql = at if isinstance(at, str) else at[0]
                if statement_kind(sql) is not StatementKind.TRANSACTION:
                    place = "" if text.origin is None else _place(Origin.of(text.origin))
                    shape = ShapeAt(shortened(fingerprint(sql)), place, statement_digest(sql))
                    record.add_shape(series, shape, Cost(text.queries, text.seconds))


class _Text:
    """What the queries of one text cost at one line."""

    __slots__ = ("code", "instruction", "origin", "queries", "seconds")

    def __init__(self, origin: RawOrigin | None, seconds: float) -> None:
        self.origin = origin
        self.code = None if origin is None else origin.code
        self.instruction = 0 if origin is None else origin.instruction
        self.queries, self.seconds = 1, seconds

    def is_at(self, origin: RawOrigin | None) -> bool:
        """Whether it is that line's; a template's or serializer's is its line's."""
        if origin is None or self.origin is None:
            return origin is self.origin
        return origin.code is self.code and origin.instruction == self.instruction


_Costs = dict[str | tuple[str, int, int], _Text]
"""What a text cost at the line that it first came from, and, by text, function and instruction, at
others. The text's origin keeps the function alive whose id that is."""
_Told = tuple[str, str, str, type[BaseException] | None]
"""Text, alias, vendor and error of a query."""
_Queries = tuple[Sequence[str], Sequence[RawOrigin | None], Sequence[float], Iterable[_Told]]
_Request = tuple[
    SeriesKey, Sequence[float | None], int | None, Sequence[tuple[Remark, Said]], _Queries
]
_NO_QUERIES: _Queries = ((), (), (), ())


def _place(origin: Origin | None) -> str:
    return "" if origin is None else origin.nearest_place[-LONGEST_NAME:]
