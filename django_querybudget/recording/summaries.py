"""What every response says of its log, found in one pass: :func:`summed`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django_querybudget.sql.fingerprints import StatementKind, statement_kind

if TYPE_CHECKING:
    from .raw import RawRecord

__all__ = ["Summary", "parameters_key", "summed"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the headers tell of the first ``size`` statements of a log."""

    size: int
    count: int
    duration: float
    repeated: list[int]
    """Positions of the duplicates."""


def summed(raws: list[RawRecord]) -> Summary:
    count, total = 0, 0.0
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
            if counts:
                count += 1
                total += raw.duration
            continue
        earlier = first[sql]
        if earlier is None:
            continue
        count += 1
        total += raw.duration
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
    return Summary(len(raws), count, total, repeated)


_PLAIN_TYPES = frozenset((str, int, float, bool, bytes, type(None)))


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
