"""From Django's ``Query`` objects to :mod:`.shapes`: the where tree, the joins, the ordering.

Reads a query and changes nothing of it. What no B-tree serves (``icontains``, functions of a
column, a negated condition) is left out: it narrows the result, and no index is asked for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models.expressions import Col, OrderBy
from django.db.models.lookups import Lookup, YearLookup
from django.db.models.sql.constants import INNER, LOUTER
from django.db.models.sql.datastructures import BaseTable
from django.db.models.sql.datastructures import Join as SQLJoin
from django.db.models.sql.query import Query
from django.db.models.sql.subqueries import AggregateQuery, InsertQuery
from django.db.models.sql.where import OR, WhereNode

from django_querybudget.sql.where import conjuncts

from .shapes import Access, ColumnFilter, Join, Order, QueryShape

_EQUALITY = {"exact", "in", "isnull"}
_RANGES = {"gt", "gte", "lt", "lte", "range"}
_NO_BTREE = {"JSONField", "BinaryField", "ArrayField", "GeometryField"}


def shapes_of(query: Query, using: str) -> list[QueryShape]:
    """Return the shape of ``query`` and of each query within it; none for an INSERT."""
    return list(_shapes(query, using))


def _shapes(query: Query, using: str) -> Iterator[QueryShape]:
    if isinstance(query, InsertQuery):
        return
    if isinstance(query, AggregateQuery):
        yield from _shapes(query.inner_query, using)
        return
    if query.combinator:
        for combined in query.combined_queries:
            yield from _shapes(combined, using)
        return
    for inner in _subqueries(query):
        yield from _shapes(inner, using)
    shape = _Walk(query, using).shape()
    if shape is not None:
        yield shape


def _subqueries(query: Query) -> Iterator[Query]:
    for node in [query.where, *query.annotations.values()]:
        yield from _subqueries_of(node)


def _subqueries_of(node: object) -> Iterator[Query]:
    if isinstance(node, Query):
        yield node
    elif isinstance(node, WhereNode):
        for child in node.children:
            yield from _subqueries_of(child)
    elif isinstance(inner := getattr(node, "query", None), Query):
        yield inner
    elif hasattr(node, "get_source_expressions"):
        for source in node.get_source_expressions():
            yield from _subqueries_of(source)
        if isinstance(node, Lookup) and isinstance(node.rhs, Query):
            yield node.rhs


class _Walk:
    """Collects the shape of one query, its subqueries left out."""

    def __init__(self, query: Query, using: str) -> None:
        # A copy: to select and to order may add joins. What ran has taken its own off again.
        self.query = query = query.clone()
        compiler = query.get_compiler(using)
        compiler.setup_query()
        self.order_by = [term[0] for term in compiler.get_order_by()]
        self.tables = {
            alias: table
            for alias, table in query.alias_map.items()
            if query.alias_refcount.get(alias) and isinstance(table, BaseTable | SQLJoin)
        }
        self.filters: dict[str, ColumnFilter] = defaultdict(ColumnFilter)
        self.alternatives: dict[str, tuple[ColumnFilter, ...]] = {}

    def shape(self) -> QueryShape | None:
        if not self.tables:
            return None
        self._collect()
        return QueryShape(
            accesses=tuple(
                Access(
                    alias=alias,
                    table=table.table_name,
                    filter=self.filters[alias],
                    alternatives=self.alternatives.get(alias, ()),
                )
                for alias, table in self.tables.items()
            ),
            joins=tuple(self._joins()),
            order=self._order(),
            limited=self.query.high_mark is not None,
        )

    def _collect(self) -> None:
        """Collect what has to hold in any case."""
        for each in conjuncts(self.query.where):
            if isinstance(each, WhereNode):
                if each.connector == OR and not each.negated:
                    self._disjunction(each)
            elif (found := self._condition(each)) is not None:
                alias, condition = found
                self.filters[alias] |= condition

    def _disjunction(self, node: WhereNode) -> None:
        """Collect an OR whose every branch is a lookup on one and the same table."""
        branches = [self._branch(child) for child in node.children]
        aliases = {branch[0] for branch in branches if branch is not None}
        if len(aliases) == 1 and all(branches):
            (alias,) = aliases
            self.alternatives.setdefault(
                alias, tuple(branch[1] for branch in branches if branch is not None)
            )

    def _branch(self, node: object) -> tuple[str, ColumnFilter] | None:
        found = [one for each in conjuncts(node) if (one := self._condition(each)) is not None]
        if not found or len({alias for alias, _ in found}) > 1:
            return None
        condition = ColumnFilter()
        for _, part in found:
            condition |= part
        return found[0][0], condition

    def _condition(self, node: Any) -> tuple[str, ColumnFilter] | None:
        """Return the alias and the condition of a lookup on a bare column of this query."""
        if isinstance(node, Col):
            # A boolean field as its own condition.
            column, kind = node, "exact"
        elif not isinstance(node, Lookup) or self._reads_own_table(node):
            return None
        elif isinstance(node, YearLookup):
            # Django turns it into BETWEEN on the column below.
            column, kind = node.lhs.lhs, "range"
        else:
            column, kind = node.lhs, str(node.lookup_name)
        if not isinstance(column, Col) or column.alias not in self.tables:
            return None
        field: Any = column.target
        if field.get_internal_type() in _NO_BTREE or (kind == "isnull" and not node.rhs):
            return None
        names = frozenset({str(field.column)})
        if kind in _EQUALITY:
            return str(column.alias), ColumnFilter(equality=names)
        return (str(column.alias), ColumnFilter(ranges=names)) if kind in _RANGES else None

    def _reads_own_table(self, node: Lookup[Any]) -> bool:
        """Return whether the right side is a column of this query: a comparison of rows."""
        rhs = node.rhs if isinstance(node.rhs, list | tuple) else [node.rhs]
        return any(
            isinstance(part, Col) and part.alias in self.tables
            for expression in rhs
            if hasattr(expression, "flatten")
            for part in expression.flatten()
        )

    def _joins(self) -> Iterator[Join]:
        for alias, table in self.tables.items():
            if isinstance(table, SQLJoin) and table.parent_alias in self.tables:
                yield Join(
                    parent=table.parent_alias,
                    parent_columns=frozenset(lhs for lhs, _ in table.join_cols),
                    child=alias,
                    child_columns=frozenset(rhs for _, rhs in table.join_cols),
                    outer=table.join_type == LOUTER or table.join_type != INNER,
                )

    def _order(self) -> Order | None:
        """Return the leading plain columns of ``ORDER BY`` on the query's first table."""
        base = next(iter(self.tables))
        columns = [
            (ordering.expression.target.column, ordering.descending)
            for ordering in _plain(self.order_by)
            if ordering.expression.alias == base
        ]
        return Order(alias=base, columns=tuple(columns)) if columns else None


def _plain(orderings: Iterable[Any]) -> Iterator[Any]:
    """Yield the orderings up to the first that is more than a column."""
    for ordering in orderings:
        if not isinstance(ordering, OrderBy) or not isinstance(ordering.expression, Col):
            return
        yield ordering
