"""What requests have added since the last flush: :class:`Pending`, the only part on their path.

It keeps shapes as they come, by text, function and instruction: fingerprints and line numbers are
worked out when it is taken away, off the request's path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import getsizeof
from typing import TYPE_CHECKING, Any

from django_querybudget.sql.digests import statement_digest
from django_querybudget.sql.fingerprints import StatementKind, fingerprint, statement_kind
from django_querybudget.sql.shortening import shortened
from django_querybudget.stacks import Origin

from .measures import observe
from .record import LONGEST_NAME, Cost, Record, Remark, Said, SeriesKey, ShapeAt

if TYPE_CHECKING:
    from django_querybudget.recording.records import RawRecord

__all__ = ["Pending"]

TEXT_BYTES = 256 * 1024
"""What the statements of the shapes hold at most, in bytes; past it no new shape is noted."""
_LONGEST = 2_000
"""A longer statement is known by its beginning."""
_ENTRY = 300


class Pending:
    """A record in the making. Not safe to use from several threads."""

    def __init__(self) -> None:
        self.record = Record()
        # By series: what its raw shapes cost, and the first origin of each, which also keeps the
        # function alive whose id is in the key.
        self._costs: dict[SeriesKey, dict[tuple[str, int, int], list[Any]]] = {}
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it should be taken away soon."""
        return self._bytes > TEXT_BYTES // 2

    def add(
        self,
        key: SeriesKey,
        values: Sequence[float | None],
        raws: Iterable[RawRecord],
        budget: int | None,
        remarks: Iterable[tuple[Remark, Said]] = (),
    ) -> None:
        """Add one request."""
        series = self.record.of(key)
        observe(series.numbers, values)
        if budget is not None:
            series.budget = budget
        costs = self._costs.get(key)
        if costs is None:
            if self.record.series.get(key) is not series:
                return  # of "other", whose shapes say nothing
            costs = self._costs[key] = {}
        for remark, said in remarks:
            self.record.add_remark(series, remark, said)
        for raw in raws:
            sql, origin = raw.sql, raw.origin
            if len(sql) > _LONGEST:
                sql = sql[:_LONGEST]
            at = (sql, 0, 0) if origin is None else (sql, id(origin.code), origin.instruction)
            cost = costs.get(at)
            if cost is not None:
                cost[0] += 1
                cost[1] += raw.duration
            elif self._bytes < TEXT_BYTES:
                self._bytes += getsizeof(sql) + _ENTRY
                costs[at] = [1, raw.duration, origin]

    def finished(self) -> Record:
        """Return the record with its shapes; nothing is to be added after that."""
        for key, costs in self._costs.items():
            series = self.record.series[key]
            for (sql, _, _), (count, seconds, origin) in costs.items():
                if statement_kind(sql) is not StatementKind.TRANSACTION:
                    place = "" if origin is None else _place(Origin.of(origin))
                    shape = ShapeAt(shortened(fingerprint(sql)), place, statement_digest(sql))
                    self.record.add_shape(series, shape, Cost(count, seconds))
        self._costs.clear()
        return self.record


def _place(origin: Origin | None) -> str:
    return "" if origin is None else origin.nearest_place[-LONGEST_NAME:]
