"""The shape of an ORM query: how it reaches each table. Pure data.

Columns are the database's. Two queries of one shape need the same indexes, whatever their values.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ColumnFilter:
    """Conditions on one table that all have to hold."""

    equality: frozenset[str] = frozenset()
    """Columns compared with ``=``, ``IN`` or ``IS NULL``."""
    ranges: frozenset[str] = frozenset()
    """Columns compared with ``<``, ``>`` or ``BETWEEN``."""

    def __bool__(self) -> bool:
        return bool(self.equality or self.ranges)

    def __or__(self, other: ColumnFilter) -> ColumnFilter:
        return ColumnFilter(
            equality=self.equality | other.equality, ranges=self.ranges | other.ranges
        )


@dataclass(frozen=True, kw_only=True)
class Access:
    """One table in a query, under the alias that the SQL has for it."""

    alias: str
    table: str
    filter: ColumnFilter = ColumnFilter()
    alternatives: tuple[ColumnFilter, ...] = ()
    """The branches of an OR, if all of them are on this table; each is looked up by itself."""


@dataclass(frozen=True, kw_only=True)
class Join:
    """A joined table, reached from its parent by equal columns."""

    parent: str
    """The alias that the join comes from."""
    parent_columns: frozenset[str]
    child: str
    child_columns: frozenset[str]
    outer: bool
    """Whether it can only be followed from the parent."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """``ORDER BY`` of the first table, as far as it is plain columns."""

    alias: str
    columns: tuple[tuple[str, bool], ...]
    """Each with whether it descends."""


@dataclass(frozen=True, kw_only=True)
class QueryShape:
    """One query or subquery."""

    accesses: tuple[Access, ...]
    joins: tuple[Join, ...] = ()
    order: Order | None = None
    limited: bool = False
    """Whether only the first rows are asked for, so that an ordered index spares the rest."""
