"""What requests have added since the last flush: :class:`Pending`, the only part on their path.

A request is put down as it is, without its parameters. Some dozens of them are added up at once:
what runs once in a while, between queries, takes twice the time of what runs in a row. Shapes are
kept by text, function and instruction: fingerprints and line numbers are worked out when they
are taken away, off the request's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof
from typing import TYPE_CHECKING, NamedTuple

from django_querybudget.sql.digests import statement_digest
from django_querybudget.sql.fingerprints import StatementKind, fingerprint, statement_kind
from django_querybudget.sql.shortening import shortened
from django_querybudget.stacks import Origin

from .exporting import Increment, Observation, QueryKind
from .measures import observe
from .record import LONGEST_NAME, MOST_SERIES, Cost, Record, Remark, Said, SeriesKey, ShapeAt

if TYPE_CHECKING:
    from django_querybudget.recording.records import RawRecord
    from django_querybudget.stacks import RawOrigin

__all__ = ["Pending"]

TEXT_BYTES = 192 * 1024
"""What the statements of the shapes hold at most, in bytes; past it no new shape is noted."""
WAITING = 64 * 1024
"""So many characters of statements wait at most to be added up."""
_LONGEST = 2_000
"""A longer statement is known by its beginning."""
_ENTRY = 300
_REQUEST = 250


class _Request(NamedTuple):
    """A request that is not added up yet: its queries by column, without their parameters."""

    key: SeriesKey
    values: Sequence[float | None]
    budget: int | None
    remarks: Sequence[tuple[Remark, Said]]
    sqls: Sequence[str] = ()
    origins: Sequence[RawOrigin | None] = ()
    durations: Sequence[float] = ()
    told: tuple[Sequence[str], Sequence[str], Sequence[type[BaseException] | None]] | None = None
    """Alias, vendor and error of each, if an exporter wants them."""


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
        self._waiting: list[_Request] = []
        self._characters = 0
        # By series: what a text cost at the line that it first came from, and, by text, function
        # and instruction, at others. The text's origin keeps the function alive whose id that is.
        self._costs: dict[SeriesKey, _Costs] = {}
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
        request = _Request(key, values, budget, remarks)
        if raws:
            sqls, _, _, aliases, vendors, _, durations, errors, origins, *_ = zip(
                *raws, strict=True
            )
            self._characters += sum(map(len, sqls)) + _ENTRY * len(sqls)
            told = (aliases, vendors, errors) if self._queries else None
            request = _Request(key, values, budget, remarks, sqls, origins, durations, told)
        self._characters += _REQUEST
        if remarks:
            self._characters += sum(_ENTRY + len(each.text) + len(s.advice) for each, s in remarks)
        self._waiting.append(request)
        if self._characters > WAITING:
            self._add_up()

    def _add_up(self) -> None:
        waiting, self._waiting, self._characters = self._waiting, [], 0
        for request in waiting:
            key = self._names.get(request.key, request.key)
            if len(self._names) < MOST_SERIES:
                self._names[key] = key
            series = self._record.of(key)
            observe(series.numbers, request.values)
            if request.budget is not None:
                series.budget = request.budget
            if self._requests:
                self._increment.observe(Observation(key, request.values))
            if request.told is not None:
                self._add_queries(request)
            if self._record.series.get(key) is series:  # of "other" the details say nothing
                for remark, said in request.remarks:
                    self._record.add_remark(series, remark, said)
                self._add_costs(self._costs.setdefault(key, {}), request)

    def _add_queries(self, request: _Request) -> None:
        queries, add = self._increment.queries, self._increment.add_queries
        for *kind, seconds in zip(
            request.sqls, *request.told or (), request.durations, strict=True
        ):
            known = tuple(kind) in queries  # its text was cut, and is no transaction's
            if known or statement_kind(kind[0]) is not StatementKind.TRANSACTION:
                add(QueryKind(kind[0][:_LONGEST], *kind[1:]), (seconds,))

    def _add_costs(
        self,
        costs: _Costs,
        request: _Request,
    ) -> None:
        columns = zip(request.sqls, request.origins, request.durations, strict=True)
        for sql, origin, seconds in columns:
            text = costs.get(sql)
            # One text comes from one line, nearly always: no key of both is made and hashed.
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
        while self._costs:
            key, costs = self._costs.popitem()
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


def _place(origin: Origin | None) -> str:
    return "" if origin is None else origin.nearest_place[-LONGEST_NAME:]
