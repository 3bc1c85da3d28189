"""The structure of a query: everything but the values that its lookups compare columns with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import Exists, F, Value, lookups
from django.db.models.expressions import Col, NegatedExpression
from django.db.models.functions import ExtractYear
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import WhereNode

from .known_sql import (
    AGGREGATES,
    ATOMS,
    BARE_FIELDS,
    COMPARISONS,
    CONDITIONS,
    DERIVED,
    EXPRESSIONS,
    LISTS,
    NULLS,
    PATTERNS,
    VALUES,
    YEARS,
    UnknownPart,
    is_djangos_field,
    is_pure_join,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Structure", "StructureWalk"]

Structure = tuple[Any, ...]


class StructureWalk:
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

    def query(self, query: Query) -> Structure:
        """Return the structure. Raises :class:`UnknownPart`."""
        if type(query) is not Query:
            raise UnknownPart
        parts: list[Any] = [self.connection.alias, self.connection.vendor]
        for name, value in vars(query).items():
            kind = type(value)
            if kind in ATOMS:
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

    def _uncounted(self, walk: Callable[[Any], Any], value: object) -> Any:
        """Return ``walk(value)``, whose values stand in no parameter."""
        before, self._counting = self._counting, False
        try:
            return walk(value)
        finally:
            self._counting = before

    def _count(self, value: object) -> None:
        if self._counting:
            self.optional += type(value) is bool
            self.values.append(value)

    def _ordering(self, ordering: Any) -> Any:
        return tuple(each if type(each) is str else self._id(each) for each in ordering)

    def _frozen(self, value: Any) -> Any:  # noqa: PLR0911  # one type after another
        kind = type(value)
        if kind in ATOMS:
            return value
        if kind in (tuple, list):
            return tuple(map(self._frozen, value))
        if kind is dict:
            return tuple((name, self._frozen(item)) for name, item in value.items())
        if kind in (set, frozenset):
            return frozenset(map(self._frozen, value))
        if kind is BaseTable:
            return value.table_name, value.table_alias
        if kind is Join and value.filtered_relation is None and is_pure_join(value.join_field):
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
        if kind in EXPRESSIONS:
            return self._expression(value)
        raise UnknownPart

    def _expression(self, expression: Any) -> Structure:
        """Return the structure, with its values in it: it may be compared with another."""
        kind = type(expression)
        if kind is F:
            return kind, expression.name
        parts: list[Any] = [kind]
        for name, value in vars(expression).items():
            if name in DERIVED:
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

    def _expressed(self, value: object) -> Any:
        kind = type(value)
        if value is None:
            return kind
        if kind is not bool and kind not in VALUES:
            raise UnknownPart
        self._count(value)
        return kind, str(value)

    def _argument(self, value: Any) -> Any:
        """Return what an expression holds, or was made with: equal for what compares equal."""
        kind = type(value)
        if kind in ATOMS:
            return kind, value
        if kind in VALUES:
            return kind, str(value)
        if kind in (tuple, list):
            return tuple(map(self._argument, value))
        if kind is dict:
            return tuple((name, self._argument(item)) for name, item in value.items())
        if isinstance(value, models.Field):
            return self._field(value)
        return value if isinstance(value, type) else self._frozen(value)

    def _field(self, field: object) -> Any:
        if hasattr(field, "model"):
            if not is_djangos_field(field):
                raise UnknownPart
            return self._id(field)
        if type(field) not in BARE_FIELDS:
            raise UnknownPart
        return type(field)

    def _id(self, named: object) -> int:
        self.named.append(named)
        return id(named)

    def _where(self, node: object) -> Structure:
        if type(node) is not WhereNode:
            raise UnknownPart
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
        if kind in YEARS:
            return kind, self._year(child), self._frozen(child.lhs.lhs)
        if getattr(child, "bilateral_transforms", True):
            raise UnknownPart
        if kind is lookups.Exact and type(child.lhs) in CONDITIONS and type(child.rhs) is bool:
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
            if not (is_djangos_field(column.target) and is_djangos_field(column.output_field)):
                raise UnknownPart
        elif type(column) not in AGGREGATES or kind not in COMPARISONS:
            raise UnknownPart
        return column.output_field

    def _right(self, kind: type, value: Any, field: Any) -> Any:
        """Return what of the value that ``field`` is compared with is part of the structure."""
        if kind in COMPARISONS:
            return self._compared(value, field)
        if kind in LISTS:
            return self._listed(value)
        if kind in NULLS and type(value) is bool:
            return value
        if kind in PATTERNS and type(value) is str:
            self._count(self._pattern(kind, value))
            return None
        if kind is lookups.Range and type(value) in (tuple, list) and len(value) == 2:
            return tuple(self._compared(each, field) for each in value)
        raise UnknownPart

    def _pattern(self, kind: Any, value: str) -> str:
        operations = self.connection.ops
        if kind is lookups.IExact:
            return str(operations.prep_for_iexact_query(value))
        if kind in (lookups.Regex, lookups.IRegex):
            return value
        pattern = str(operations.prep_for_like_query(value))
        # Django before 6.1 always puts it.
        if getattr(self.connection.features, "pattern_lookup_needs_param_pattern", True):
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
            or not (
                is_djangos_field(extracted.lhs.target)
                and is_djangos_field(extracted.lhs.output_field)
            )
        ):
            raise UnknownPart
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
        if kind is Col or kind in EXPRESSIONS:
            return self._frozen(value)
        if kind not in VALUES:
            raise UnknownPart
        if kind is int:
            # Any other backend's ranges are wider.
            limits = BaseDatabaseOperations.integer_field_ranges.get(field.get_internal_type())
            if limits is not None and not limits[0] <= value <= limits[1]:
                raise UnknownPart
        self._count(value)
        return None

    def _listed(self, values: Any) -> Any:
        if type(values) is Query:
            return self.query(values)
        if type(values) not in (list, tuple) or not values:
            raise UnknownPart
        if not all(type(value) in VALUES for value in values) or len(set(values)) != len(values):
            raise UnknownPart
        for each in values:
            self._count(each)
        return len(values)
