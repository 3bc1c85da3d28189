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
    sqls: Sequence[str]
    origins: Sequence[RawOrigin | None]
    durations: Sequence[float]


class Pending:
    """A record in the making. Not safe to use from several threads."""

    def __init__(self, names: dict[SeriesKey, SeriesKey] | None = None) -> None:
        """Begin; ``names`` are those of the ones before, which are not to be kept twice."""
        self._names = {} if names is None else names
        self._record = Record()
        self._waiting: list[_Request] = []
        self._characters = 0
        # By series: what a text cost at the line that it first came from, and, by text, function
        # and instruction, at others. The text's origin keeps the function alive whose id that is.
        self._costs: dict[SeriesKey, _Costs] = {}
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be taken away soon."""
        return self._bytes > TEXT_BYTES // 2

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._waiting and not self._record.series

    @property
    def record(self) -> Record:
        """What was added, still without its shapes."""
        self._add_up()
        return self._record

    def add(
        self,
        key: SeriesKey,
        values: Sequence[float | None],
        raws: Sequence[RawRecord],
        budget: int | None,
        remarks: Sequence[tuple[Remark, Said]] = (),
    ) -> None:
        """Add one request."""
        if raws:
            sqls, _, _, _, _, _, durations, _, origins, *_ = zip(*raws, strict=True)
            self._characters += sum(map(len, sqls)) + _ENTRY * len(sqls)
            request = _Request(key, values, budget, remarks, sqls, origins, durations)
        else:
            request = _Request(key, values, budget, remarks, (), (), ())
        self._characters += _REQUEST
        if remarks:
            self._characters += sum(_ENTRY + len(each.text) + len(s.advice) for each, s in remarks)
        self._waiting.append(request)
        if self._characters > WAITING:
            self._add_up()

    def _add_up(self) -> None:
        waiting, self._waiting, self._characters = self._waiting, [], 0
        for key, values, budget, remarks, sqls, origins, durations in waiting:
            key = self._names.get(key, key)  # noqa: PLW2901 - the same, kept once
            if len(self._names) < MOST_SERIES:
                self._names[key] = key
            series = self._record.of(key)
            observe(series.numbers, values)
            if budget is not None:
                series.budget = budget
            if self._record.series.get(key) is series:  # of "other" the details say nothing
                for remark, said in remarks:
                    self._record.add_remark(series, remark, said)
                self._add_costs(self._costs.setdefault(key, {}), sqls, origins, durations)

    def _add_costs(
        self,
        costs: _Costs,
        sqls: Sequence[str],
        origins: Sequence[RawOrigin | None],
        durations: Sequence[float],
    ) -> None:
        for sql, origin, seconds in zip(sqls, origins, durations, strict=True):
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
