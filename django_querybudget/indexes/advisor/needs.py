"""What a query shape needs and no index gives. Pure functions of shapes and definitions.

A query has to *enter* somewhere: by a filter that an index serves, or, with no filter at all and
only the first rows wanted, by an index in their order. From there it *follows* joins, and each
joined table needs an index that begins with a column of the join or of its own filter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from django_querybudget.indexes.definitions import IndexDefinition

from .shapes import Access, ColumnFilter, Order, QueryShape

Indexes = Mapping[str, Collection[IndexDefinition]]
"""The indexes of each table."""


class Purpose(Enum):
    """Why a shape needs an index."""

    FILTER = "filter"
    JOIN = "join"
    ORDER = "order"


@dataclass(frozen=True, kw_only=True)
class Need:
    """An index that a shape could use and does not have."""

    table: str
    alias: str
    """The table's name in the SQL that shows the need."""
    purpose: Purpose
    equality: frozenset[str] = frozenset()
    tail: tuple[tuple[str, bool], ...] = ()
    """What follows the equality columns, each with whether it descends: a range or an order."""
    tail_required: bool = False
    """False for the order of all rows that match: few are sorted without an index as well."""


def find_needs(
    shape: QueryShape, indexes: Indexes, weak: Collection[tuple[str, str]]
) -> list[Need]:
    """Return the indexes that ``shape`` needs and ``indexes`` does not have.

    ``weak`` are the ``(table, column)`` of columns that have few values, booleans: an index on
    them alone halves a table at best, and is not asked for. Nor is one that would only keep all of
    their rows in an order: those are sorted after they are read anyway.
    """
    return [need for need in _needs(shape, indexes) if not _is_weak(need, weak)]


def _is_weak(need: Need, weak: Collection[tuple[str, str]]) -> bool:
    return not need.tail_required and all((need.table, column) in weak for column in need.equality)


def _needs(shape: QueryShape, indexes: Indexes) -> Iterator[Need]:
    restricted = [a for a in shape.accesses if a.filter or a.alternatives]
    if not restricted:
        yield from _order_need(shape, indexes)
        return
    entry = _entry(restricted, indexes)
    if entry is None:
        # One index is enough to enter by: on the table whose filter says most.
        outer = {join.child for join in shape.joins if join.outer}
        entry = max(
            (a for a in restricted if a.alias not in outer or len(restricted) == 1),
            key=lambda a: (len(a.filter.equality), len(a.filter.ranges), -restricted.index(a)),
            default=restricted[0],
        )
        yield from _filter_needs(entry, shape, indexes)
    yield from _join_needs(entry, shape, indexes)


def _entry(restricted: list[Access], indexes: Indexes) -> Access | None:
    return next((a for a in restricted if _is_entered(a, indexes)), None)


def _is_entered(access: Access, indexes: Indexes) -> bool:
    if _serves(access.filter, indexes.get(access.table, ())):
        return True
    return bool(access.alternatives) and all(
        _serves(branch, indexes.get(access.table, ())) for branch in access.alternatives
    )


def _serves(wanted: ColumnFilter, indexes: Collection[IndexDefinition]) -> bool:
    """Return whether an index begins with a column of the filter."""
    return any(
        not index.condition
        and not index.expressions
        and (
            (index.method == "btree" and index.columns[0] in wanted.equality | wanted.ranges)
            or (index.method == "hash" and set(index.columns) <= wanted.equality)
        )
        for index in indexes
    )


def _filter_needs(access: Access, shape: QueryShape, indexes: Indexes) -> Iterator[Need]:
    order = shape.order if shape.order is not None and shape.order.alias == access.alias else None
    if access.filter:
        yield _need(access, access.filter, order, Purpose.FILTER, limited=shape.limited)
        return
    for branch in access.alternatives:
        if not _serves(branch, indexes.get(access.table, ())):
            yield _need(access, branch, None, Purpose.FILTER)


def _need(
    access: Access,
    wanted: ColumnFilter,
    order: Order | None,
    purpose: Purpose,
    *,
    limited: bool = False,
) -> Need:
    tail: tuple[tuple[str, bool], ...] = ()
    ranges = sorted(wanted.ranges - wanted.equality)
    if ranges:
        ordered = [column for column, _ in order.columns] if order is not None else []
        # Of several ranges one can be used: the one that the result is ordered by, if any.
        best = min(ranges, key=lambda column: (column not in ordered, column))
        tail = ((best, False),)
    elif order is not None:
        tail = tuple(term for term in order.columns if term[0] not in wanted.equality)
    return Need(
        table=access.table,
        alias=access.alias,
        purpose=purpose,
        equality=wanted.equality,
        tail=_upright(tail),
        tail_required=bool(tail) and (limited or bool(ranges)),
    )


def _upright(tail: tuple[tuple[str, bool], ...]) -> tuple[tuple[str, bool], ...]:
    """An index is read backwards as well: only a mixed order has to be spelled."""
    if tail and all(descending for _, descending in tail):
        return tuple((column, False) for column, _ in tail)
    return tail


def _order_need(shape: QueryShape, indexes: Indexes) -> Iterator[Need]:
    order = shape.order
    if order is None or not shape.limited:
        return
    access = next(a for a in shape.accesses if a.alias == order.alias)
    leading = order.columns[0][0]
    wanted = ColumnFilter(ranges=frozenset({leading}))
    if not _serves(wanted, indexes.get(access.table, ())):
        yield Need(
            table=access.table,
            alias=access.alias,
            purpose=Purpose.ORDER,
            tail=_upright(order.columns),
            tail_required=True,
        )


def _join_needs(entry: Access, shape: QueryShape, indexes: Indexes) -> Iterator[Need]:
    """Follow the joins from ``entry``, and yield a need where one reads a whole table."""
    accesses = {access.alias: access for access in shape.accesses}
    reached = {entry.alias}
    todo = [entry.alias]
    while todo:
        here = todo.pop()
        for join in shape.joins:
            if join.parent == here and join.child not in reached:
                alias, columns = join.child, join.child_columns
            elif join.child == here and join.parent not in reached and not join.outer:
                alias, columns = join.parent, join.parent_columns
            else:
                continue
            reached.add(alias)
            todo.append(alias)
            access = accesses[alias]
            wanted = replace(access.filter, equality=access.filter.equality | columns)
            if not _serves(wanted, indexes.get(access.table, ())):
                yield _need(access, wanted, None, Purpose.JOIN)
