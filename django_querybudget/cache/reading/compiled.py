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

    Values that stand in an *expression* (``F("a") + 1``, an annotation, an ordering) are part of
    the structure besides: compiling compares expressions with one another, by what they were made
    of, and groups or orders by one where it finds an equal one. For the same reason an expression's
    structure has the arguments that it was made with, as they were before it was resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import Avg, Count, Exists, F, Max, Min, Sum, Value, lookups
from django.db.models.expressions import (
    Col,
    CombinedExpression,
    NegatedExpression,
    OrderBy,
    Ref,
    Star,
)
from django.db.models.fields import related_lookups
from django.db.models.fields.related import ForeignObject
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.functions import Coalesce, ExtractYear, Length, Lower, Upper
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
# Each writes one placeholder. What stands in the parameter is a pattern made of the value: two
# lookups may write the same SQL, so that it is the pattern that has to be told apart.
_PATTERNS = frozenset(
    {
        lookups.IExact, lookups.Contains, lookups.IContains, lookups.StartsWith,
        lookups.IStartsWith, lookups.EndsWith, lookups.IEndsWith, lookups.Regex, lookups.IRegex,
    }
)  # fmt: skip
_YEARS = frozenset(
    {
        lookups.YearExact, lookups.YearGt, lookups.YearGte, lookups.YearLt, lookups.YearLte,
    }
)  # fmt: skip
_CONDITIONS = frozenset({Exists, NegatedExpression})
_AGGREGATES = frozenset({Avg, Count, Max, Min, Sum})
_EXPRESSIONS = _AGGREGATES | {
    Coalesce, CombinedExpression, F, Length, Lower, OrderBy, Ref, Star, Upper, Value,
}  # fmt: skip
# Kept by an expression when it has been asked for it, and told by the rest.
_DERIVED = frozenset(
    {
        "contains_aggregate", "contains_over_clause", "contains_column_references", "identity",
        "contains_subquery", "convert_value", "conditional", "constraint_validation_compatible",
        "allowed_default", "_output_field_resolved_to_none", "is_simple_lookup",
    }
)  # fmt: skip
# Of these the type alone decides what is written.
_BARE_FIELDS = frozenset(
    {
        models.IntegerField, models.BigIntegerField, models.FloatField, models.BooleanField,
        models.TextField,
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
        sql, params = _compile(query, connection)
        return sql, tuple(params)
    known = _memory.get(structure)
    if known is None:
        sql, params = _compile(query, connection)
        # A boolean, which is part of the structure, may stand in the SQL itself; so may a constant.
        all_told = len(walk.values) - walk.optional <= len(params) <= len(walk.values)
        known = (sql if all_told else None, walk.named)
        _memory.remember(structure, known)
    if known[0] is not None:
        return known[0], walk.told()
    sql, params = _compile(query, connection)
    return sql, tuple(params)


def _compile(query: Query, connection: BaseDatabaseWrapper) -> tuple[str, Sequence[Any]]:
    if query.combinator:
        query = _apart(query)
    return query.get_compiler(connection=connection).as_sql()  # type: ignore[no-any-return]


def _apart(query: Query) -> Query:
    """Return a clone to compile, after which the query can be compiled once more.

    Compiling a union that is ordered writes into ``selected``, which clones share in Django.
    """
    clone: Any = query.clone()
    if getattr(clone, "selected", None):
        clone.selected = dict(clone.selected)
    clone.combined_queries = tuple(map(_apart, clone.combined_queries))
    return clone  # type: ignore[no-any-return]


class _Walk:
    """Goes through a query, collecting the values that its lookups compare columns with."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.values: list[Any] = []
        self.named: list[Any] = []
        self.optional = 0
        self._elsewhere: list[tuple[str, int]] = []
        self._counting = True

    def told(self) -> tuple[Any, ...]:
        """Return the values, and where those stand that are not compared with in ``WHERE``.

        Attributes of a query have no order: equal values in another order are another question.
        """
        return (*self.values, tuple(self._elsewhere)) if self._elsewhere else tuple(self.values)

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
                # A union's own conditions are those of its first query, and are written there.
                parts += (name, self._uncounted(self._where, value) if query.combinator
                          else self._where(value))  # fmt: skip
            elif name == "model":
                # Some projects switch a model's table, or its ordering, while they run.
                parts += (value, value._meta.db_table, self._ordering(value._meta.ordering))
                self.named.append(value)
            elif value or kind not in (dict, tuple, set, list):
                before = len(self.values)
                parts += (name, self._frozen(value))
                if len(self.values) > before:
                    self._elsewhere += ((name, before), ("", len(self.values)))
            else:
                parts.append(name)  # empty
        return tuple(parts)

    def _uncounted(self, walk: Callable[[Any], Any], value: Any) -> Any:
        """Return ``walk(value)``, whose values stand in no parameter."""
        before, self._counting = self._counting, False
        try:
            return walk(value)
        finally:
            self._counting = before

    def _count(self, value: Any) -> None:
        if self._counting:
            self.optional += type(value) is bool
            self.values.append(value)

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
            return (
                value.alias, self._id(value.target), self._id(value.output_field),
                getattr(value, "possibly_multivalued", None),
            )  # fmt: skip
        if kind is Query:
            return self.query(value)
        if kind in _EXPRESSIONS:
            return self._expression(value)
        raise _Unknown

    def _expression(self, expression: Any) -> _Structure:
        """Return the structure, with its values in it: it may be compared with another."""
        kind = type(expression)
        if kind is F:
            return kind, expression.name
        parts: list[Any] = [kind]
        for name, value in vars(expression).items():
            if name in _DERIVED:
                continue
            if name == "value" and kind is Value:
                parts.append(self._expressed(value))
            elif name == "_constructor_args":
                parts.append(self._uncounted(self._argument, value))
            elif isinstance(value, models.Field):
                parts += (name, self._field(value))
            elif value is NotImplemented:
                parts.append(name)
            else:
                parts += (name, self._argument(value))
        return tuple(parts)

    def _expressed(self, value: Any) -> Any:
        kind = type(value)
        if value is None:
            return kind
        if kind is not bool and kind not in _VALUES:
            raise _Unknown
        self._count(value)
        return kind, str(value)

    def _argument(self, value: Any) -> Any:
        """Return what an expression holds, or was made with: equal for what compares equal."""
        kind = type(value)
        if kind in _ATOMS:
            return kind, value
        if kind in _VALUES:
            return kind, str(value)
        if kind in (tuple, list):
            return tuple(map(self._argument, value))
        if kind is dict:
            return tuple((name, self._argument(item)) for name, item in value.items())
        if isinstance(value, models.Field):
            return self._field(value)
        return value if isinstance(value, type) else self._frozen(value)

    def _field(self, field: Any) -> Any:
        if hasattr(field, "model"):
            if not _is_plain(field):
                raise _Unknown
            return self._id(field)
        if type(field) not in _BARE_FIELDS:
            raise _Unknown
        return type(field)

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
        if kind is NegatedExpression:
            return kind, self._condition(child.expression)
        if kind is Exists:
            self._count(1)  # SELECT 1, which Django adds here or did when it was resolved
            self.optional += 1
            return kind, self.query(child.query)
        if kind in _YEARS:
            return kind, self._year(child), self._frozen(child.lhs.lhs)
        if getattr(child, "bilateral_transforms", True):
            raise _Unknown
        if kind is lookups.Exact and type(child.lhs) in _CONDITIONS and type(child.rhs) is bool:
            self._count(child.rhs)
            return kind, child.rhs, self._condition(child.lhs)
        return (
            kind,
            self._right(kind, child.rhs, self._left(kind, child.lhs)),
            self._frozen(child.lhs),
        )

    def _left(self, kind: type, column: Any) -> Any:
        """Return the field of what is compared, where that is known to write no value's text."""
        if type(column) is Col:
            if not (_is_plain(column.target) and _is_plain(column.output_field)):
                raise _Unknown
        elif type(column) not in _AGGREGATES or kind not in _COMPARISONS:
            raise _Unknown
        return column.output_field

    def _right(self, kind: type, value: Any, field: Any) -> Any:
        """Return what of the value that ``field`` is compared with is part of the structure."""
        if kind in _COMPARISONS:
            return self._compared(value, field)
        if kind in _LISTS:
            return self._listed(value)
        if kind in _NULLS and type(value) is bool:
            return value
        if kind in _PATTERNS and type(value) is str:
            self._count(self._pattern(kind, value))
            return None
        if kind is lookups.Range and type(value) in (tuple, list) and len(value) == 2:
            return tuple(self._compared(each, field) for each in value)
        raise _Unknown

    def _pattern(self, kind: Any, value: str) -> str:
        operations = self.connection.ops
        if kind is lookups.IExact:
            return str(operations.prep_for_iexact_query(value))
        if kind in (lookups.Regex, lookups.IRegex):
            return value
        pattern = str(operations.prep_for_like_query(value))
        if self.connection.features.pattern_lookup_needs_param_pattern:
            pattern = kind.param_pattern % pattern
        return pattern

    def _year(self, lookup: Any) -> int:
        """A year is compared as the moments at which it begins and ends, in the time zone."""
        extracted = lookup.lhs
        if (
            type(extracted) is not ExtractYear
            or type(extracted.lhs) is not Col
            or type(lookup.rhs) is not int
            or lookup.bilateral_transforms
            or not (_is_plain(extracted.lhs.target) and _is_plain(extracted.lhs.output_field))
        ):
            raise _Unknown
        bounds = lookup.year_lookup_bounds(self.connection, lookup.rhs)
        params = lookup.get_bound_params(*bounds)
        for each in params:
            self._count(each)
        return len(params)

    def _compared(self, value: Any, field: Any) -> Any:
        kind = type(value)
        if kind is bool:
            self._count(value)
            return value
        if kind is Col or kind in _EXPRESSIONS:
            return self._frozen(value)
        if kind not in _VALUES:
            raise _Unknown
        if kind is int:
            # Any other backend's ranges are wider.
            limits = BaseDatabaseOperations.integer_field_ranges.get(field.get_internal_type())
            if limits is not None and not limits[0] <= value <= limits[1]:
                raise _Unknown
        self._count(value)
        return None

    def _listed(self, values: Any) -> Any:
        if type(values) is Query:
            return self.query(values)
        if type(values) not in (list, tuple) or not values:
            raise _Unknown
        if not all(type(value) in _VALUES for value in values) or len(set(values)) != len(values):
            raise _Unknown
        for each in values:
            self._count(each)
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
