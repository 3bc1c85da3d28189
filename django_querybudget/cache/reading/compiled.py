"""A query's SQL, without compiling it where one of the same structure was compiled before.

Compiling is half of what a cached read costs, and most reads of a project differ from an earlier
one in nothing but the values that columns are compared with.

Why it is right
    The *structure* is everything that a :class:`~django.db.models.sql.Query` holds, but for those
    values. Nothing is left out because it looks harmless: an attribute, an expression, a lookup
    or a field of any kind that is not named here makes the query one that is compiled. Nor may a
    value change the SQL: of those that could (``None``, ``bool``, numbers out of a column's
    range, lists with duplicates) what matters is part of the structure, or they are compiled.
    The key of an entry has the SQL text itself, and all the values.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import lookups
from django.db.models.expressions import Col
from django.db.models.fields import related_lookups
from django.db.models.fields.related import ForeignObject
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode

from django_querybudget.sql.memory import Memo

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["compiled"]

_COMPARISONS = frozenset(
    {
        lookups.Exact, lookups.GreaterThan, lookups.GreaterThanOrEqual, lookups.LessThan,
        lookups.LessThanOrEqual, lookups.IntegerFieldExact, lookups.IntegerGreaterThan,
        lookups.IntegerGreaterThanOrEqual, lookups.IntegerLessThan,
        lookups.IntegerLessThanOrEqual, related_lookups.RelatedExact,
        related_lookups.RelatedGreaterThan, related_lookups.RelatedGreaterThanOrEqual,
        related_lookups.RelatedLessThan, related_lookups.RelatedLessThanOrEqual,
    }
)  # fmt: skip
_LISTS = frozenset({lookups.In, related_lookups.RelatedIn})
_NULLS = frozenset({lookups.IsNull, related_lookups.RelatedIsNull})
_FIELDS = frozenset(
    {
        models.AutoField, models.BigAutoField, models.SmallAutoField, models.IntegerField,
        models.BigIntegerField, models.SmallIntegerField, models.PositiveIntegerField,
        models.PositiveBigIntegerField, models.PositiveSmallIntegerField, models.BooleanField,
        models.CharField, models.TextField, models.SlugField, models.EmailField, models.URLField,
        models.DecimalField, models.FloatField, models.UUIDField, models.DateField,
        models.DateTimeField, models.TimeField, models.DurationField,
    }
)  # fmt: skip
_VALUES = frozenset({int, str, float, Decimal, UUID, date, datetime, time, timedelta})
_ATOMS = frozenset({type(None), bool, int, str})

_Structure = tuple[Any, ...]


class _Unknown(Exception):
    """The query has something that may stand in its SQL in a way that is not known here."""


# By structure: the SQL, None for one that has other parameters than the values compared with; and
# what the structure names by id(), so that no other object can get that id.
_memory: Memo[_Structure, tuple[str | None, list[Any]]] = Memo()


def compiled(query: Query, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
    """Return the query's SQL, and values that are the same if and only if its parameters are.

    Raises what compiling raises: :class:`~django.core.exceptions.EmptyResultSet` and
    :class:`~django.core.exceptions.FullResultSet`.
    """
    walk = _Walk(connection)
    try:
        structure = walk.query(query)
    except _Unknown:
        sql, params = query.get_compiler(connection=connection).as_sql()
        return sql, tuple(params)
    known = _memory.get(structure)
    if known is None:
        sql, params = query.get_compiler(connection=connection).as_sql()
        # A boolean, which is part of the structure, may stand in the SQL itself.
        all_told = len(walk.values) - walk.booleans <= len(params) <= len(walk.values)
        known = (sql if all_told else None, walk.named)
        _memory.remember(structure, known)
    if known[0] is not None:
        return known[0], tuple(walk.values)
    sql, params = query.get_compiler(connection=connection).as_sql()
    return sql, tuple(params)


class _Walk:
    """Goes through a query, collecting the values that its lookups compare columns with."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.values: list[Any] = []
        self.named: list[Any] = []
        self.booleans = 0

    def query(self, query: Query) -> _Structure:
        """Return the structure. Raises :class:`_Unknown`."""
        if type(query) is not Query:
            raise _Unknown
        parts: list[Any] = [self.connection.alias, self.connection.vendor]
        for name, value in vars(query).items():
            kind = type(value)
            if kind in _ATOMS:
                parts += (name, value)
            elif name == "where":
                parts += (name, self._where(value))
            elif name == "model":
                # Some projects switch a model's table, or its ordering, while they run.
                parts += (value, value._meta.db_table, self._ordering(value._meta.ordering))
                self.named.append(value)
            elif value or kind not in (dict, tuple, set, list):
                parts += (name, self._frozen(value))
            else:
                parts.append(name)  # empty
        return tuple(parts)

    def _ordering(self, ordering: Any) -> Any:
        return tuple(each if type(each) is str else self._id(each) for each in ordering)

    def _frozen(self, value: Any) -> Any:  # noqa: PLR0911  # one type after another
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind in (tuple, list):
            return tuple(map(self._frozen, value))
        if kind is dict:
            return tuple((name, self._frozen(item)) for name, item in value.items())
        if kind in (set, frozenset):
            return frozenset(map(self._frozen, value))
        if kind is BaseTable:
            return value.table_name, value.table_alias
        if kind is Join and value.filtered_relation is None and _is_pure(value.join_field):
            return (
                value.table_name, value.parent_alias, value.table_alias, value.join_type,
                value.join_cols, value.nullable, self._id(value.join_field),
            )  # fmt: skip
        if kind is Col:
            return value.alias, self._id(value.target), self._id(value.output_field)
        raise _Unknown

    def _id(self, named: Any) -> int:
        self.named.append(named)
        return id(named)

    def _where(self, node: Any) -> _Structure:
        if type(node) is not WhereNode:
            raise _Unknown
        return (node.connector, node.negated, *map(self._condition, node.children))

    def _condition(self, child: Any) -> Any:
        kind = type(child)
        if kind is WhereNode:
            return self._where(child)
        column = getattr(child, "lhs", None)
        if type(column) is not Col or child.bilateral_transforms:
            raise _Unknown
        if not (_is_plain(column.target) and _is_plain(column.output_field)):
            raise _Unknown
        if kind in _COMPARISONS:
            compared = self._compared(child.rhs, column.output_field)
        elif kind in _LISTS:
            compared = self._listed(child.rhs)
        elif kind in _NULLS and type(child.rhs) is bool:
            compared = child.rhs
        else:
            raise _Unknown
        return kind, compared, self._frozen(column)

    def _compared(self, value: Any, field: Any) -> Any:
        kind = type(value)
        if kind is bool:
            self.booleans += 1
            self.values.append(value)
            return value
        if kind not in _VALUES:
            raise _Unknown
        if kind is int:
            # Any other backend's ranges are wider.
            limits = BaseDatabaseOperations.integer_field_ranges.get(field.get_internal_type())
            if limits is not None and not limits[0] <= value <= limits[1]:
                raise _Unknown
        self.values.append(value)
        return None

    def _listed(self, values: Any) -> int:
        if type(values) not in (list, tuple) or not values:
            raise _Unknown
        if not all(type(value) in _VALUES for value in values) or len(set(values)) != len(values):
            raise _Unknown
        self.values += values
        return len(values)


def _is_pure(join: Any) -> bool:
    """Whether nothing but columns is compared in a join.

    A relation's own restriction may be another each time: the language that is active, say.
    """
    if isinstance(join, ForeignObjectRel):
        kind, join = type(join), join.field
        return kind.get_extra_restriction is ForeignObjectRel.get_extra_restriction and (
            _is_pure(join)
        )
    return bool(type(join).get_extra_restriction is ForeignObject.get_extra_restriction)


@lru_cache(maxsize=1024)
def _is_plain(field: Any) -> bool:
    """Whether the field, or the one that its foreign key refers to, is one of Django's own."""
    while type(field) in (models.ForeignKey, models.OneToOneField):
        field = field.target_field
    return type(field) in _FIELDS
