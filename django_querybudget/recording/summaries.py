"""What every response says of its log: :func:`summed`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

from django_querybudget.sql.fingerprints import StatementKind, statement_kind

from .raw import TELLING_VENDORS

if TYPE_CHECKING:
    from .overflow import Tally
    from .raw import RawRecord

__all__ = ["Summary", "Totals", "parameters_key", "summed"]


class Totals(NamedTuple):
    """What is counted of a log."""

    queries: int
    seconds: float
    """How long the databases took, in seconds."""
    duplicates: int
    """How many queries repeat an earlier one."""
    rows: int | None
    """How many rows were fetched, as far as drivers tell; None if they tell of no query."""

    def plus(self, other: Tally) -> Totals:
        """Return both together."""
        others = other.fetched.rows if other.fetched.known else None
        told = [each for each in (self.rows, others) if each is not None]
        return Totals(
            self.queries + other.count,
            self.seconds + other.duration,
            self.duplicates + other.duplicates,
            sum(told) if told else None,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What the headers tell of the first ``size`` statements of a log."""

    size: int
    count: int
    duration: float
    repeated: list[int]
    """Positions of the duplicates."""
    rows: int | None
    """As those of :class:`Totals`."""


_READS = frozenset((StatementKind.READ,))


def summed(raws: list[RawRecord]) -> Summary:
    """Return what is to be said of ``raws``; this is paid by every request."""
    counted = raws
    if not counted:
        return Summary(len(raws), 0, 0.0, [], None)
    # By column: what walks a column stands in C, and costs a fifth of a loop here. By position, not
    # by name: see Pending.add() of the record of production.
    sqls, params, manys, _, vendors, _, durations, errors, _, _, _, rowcounts = zip(
        *counted, strict=True
    )
    kinds = {sql: statement_kind(sql) for sql in set(sqls)}
    if StatementKind.TRANSACTION in kinds.values():
        counted = [raw for raw in raws if statement_kind(raw.sql) is not StatementKind.TRANSACTION]
        if not counted:
            return Summary(len(raws), 0, 0.0, [], None)
        sqls, params, manys, _, vendors, _, durations, errors, _, _, _, rowcounts = zip(
            *counted, strict=True
        )
    rows = None
    if not TELLING_VENDORS.isdisjoint(vendors):
        told: Sequence[int] = rowcounts
        if not (
            _READS.issuperset(kinds.values())
            and TELLING_VENDORS.issuperset(vendors)
            and min(rowcounts) >= 0
            and True not in manys
            and errors.count(None) == len(errors)
        ):
            told = [
                rowcount
                for rowcount, sql, many, vendor, error in zip(
                    rowcounts, sqls, manys, vendors, errors, strict=True
                )
                # As RawRecord.rows, which would cost ten times as much to ask for.
                if rowcount >= 0
                and kinds[sql] is StatementKind.READ
                and not many
                and vendor in TELLING_VENDORS
                and error is None
            ]
        rows = sum(told) if told else None
    repeated = [] if _all_differ(sqls, params) else _repeated(raws)
    return Summary(len(raws), len(counted), sum(durations), repeated, rows)


_TUPLES = frozenset((tuple,))
_PLAIN_TYPES = frozenset((str, int, float, bool, bytes, type(None)))
_COMPARED_IN_C = _PLAIN_TYPES | {datetime, date, Decimal, UUID}
"""Of two that differ by ``==``, no text is the same either; and no code of a host's is asked
but its time zones'."""


def _all_differ(sqls: tuple[str, ...], params: tuple[Any, ...]) -> bool:
    """Whether it is plain that none repeats another, as in most requests."""
    if not _TUPLES.issuperset(map(type, params)):
        params = tuple(() if each is None else each for each in params)
        if not _TUPLES.issuperset(map(type, params)):
            return False
    if not _COMPARED_IN_C.issuperset(map(type, chain.from_iterable(params))):
        return False
    try:
        # Where two are equal by value, it takes a second look: they may differ by type, or in the
        # database that they were sent to.
        return len(set(zip(sqls, params, strict=True))) == len(sqls)
    except Exception:  # Decimal("sNaN"), a host's tzinfo
        return False


def _repeated(raws: list[RawRecord]) -> list[int]:
    """Return the positions of those that repeat an earlier one."""
    repeated: list[int] = []
    # By text: the first parameters while there are no others, then the keys of all; None for
    # transaction control. Most texts come once, and need no key at all.
    first: dict[str, RawRecord | None] = {}
    keys: dict[str, set[Hashable]] = {}
    for position, raw in enumerate(raws):
        sql = raw.sql
        if sql not in first:
            counts = statement_kind(sql) is not StatementKind.TRANSACTION
            first[sql] = raw if counts else None
            continue
        earlier = first[sql]
        if earlier is None:
            continue
        seen = keys.get(sql)
        if seen is None:
            seen = keys[sql] = (
                set() if earlier.many else {(earlier.alias, parameters_key(earlier.params))}
            )
        if not raw.many:
            key = (raw.alias, parameters_key(raw.params))
            if key in seen:
                repeated.append(position)
            else:
                seen.add(key)
    return repeated


def parameters_key(params: Any) -> Hashable:
    """Return parameters as a key. Their types are in it: to a database ``1`` and ``True`` differ.

    A host's object may refuse anything, being compared and hashed among it, or know itself only by
    identity (psycopg's ``Jsonb``): what is not plain is told by its text.
    """
    if type(params) is tuple:  # The ORM's.
        types = tuple(map(type, params))
        if _PLAIN_TYPES.issuperset(types):
            return params, types
    if params is None:
        return (), ()
    try:
        values = tuple(params.items()) if isinstance(params, dict) else tuple(params)
    except Exception:  # a host's object may raise anything
        return id(params)
    types = tuple(map(type, values))
    return (values if _PLAIN_TYPES.issuperset(types) else tuple(map(_told, values))), types


def _told(value: Any) -> Hashable:
    if type(value) in _PLAIN_TYPES:
        return cast("Hashable", value)
    try:
        return bytes(value) if isinstance(value, memoryview) else repr(value)
    except Exception:
        return id(value)  # Of this log's own: no other object has it while the log lives.
