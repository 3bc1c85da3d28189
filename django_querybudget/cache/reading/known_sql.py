"""What of Django writes the same SQL whatever the value is: lookups, expressions, fields, joins.

For :mod:`.structure`: what is not named here makes a query one that is compiled."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Avg, Count, Exists, F, Max, Min, Sum, Value, lookups
from django.db.models.expressions import (
    CombinedExpression,
    NegatedExpression,
    OrderBy,
    Ref,
    Star,
)
from django.db.models.fields import related_lookups
from django.db.models.fields.related import ForeignObject
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.functions import Coalesce, Length, Lower, Upper

COMPARISONS = frozenset(
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
PATTERNS = frozenset(
    {
        lookups.IExact, lookups.Contains, lookups.IContains, lookups.StartsWith,
        lookups.IStartsWith, lookups.EndsWith, lookups.IEndsWith, lookups.Regex, lookups.IRegex,
    }
)  # fmt: skip
YEARS = frozenset(
    {
        lookups.YearExact, lookups.YearGt, lookups.YearGte, lookups.YearLt, lookups.YearLte,
    }
)  # fmt: skip
CONDITIONS = frozenset({Exists, NegatedExpression})
AGGREGATES = frozenset({Avg, Count, Max, Min, Sum})
EXPRESSIONS = AGGREGATES | {
    Coalesce, CombinedExpression, F, Length, Lower, OrderBy, Ref, Star, Upper, Value,
}  # fmt: skip
# Kept by an expression when it has been asked for it, and told by the rest.
DERIVED = frozenset(
    {
        "contains_aggregate", "contains_over_clause", "contains_column_references", "identity",
        "contains_subquery", "convert_value", "conditional", "constraint_validation_compatible",
        "allowed_default", "_output_field_resolved_to_none", "is_simple_lookup",
    }
)  # fmt: skip
# Of these the type alone decides what is written.
BARE_FIELDS = frozenset(
    {
        models.IntegerField, models.BigIntegerField, models.FloatField, models.BooleanField,
        models.TextField,
    }
)  # fmt: skip
LISTS = frozenset({lookups.In, related_lookups.RelatedIn})
NULLS = frozenset({lookups.IsNull, related_lookups.RelatedIsNull})
FIELDS = frozenset(
    {
        models.AutoField, models.BigAutoField, models.SmallAutoField, models.IntegerField,
        models.BigIntegerField, models.SmallIntegerField, models.PositiveIntegerField,
        models.PositiveBigIntegerField, models.PositiveSmallIntegerField, models.BooleanField,
        models.CharField, models.TextField, models.SlugField, models.EmailField, models.URLField,
        models.DecimalField, models.FloatField, models.UUIDField, models.DateField,
        models.DateTimeField, models.TimeField, models.DurationField,
    }
)  # fmt: skip
VALUES = frozenset({int, str, float, Decimal, UUID, date, datetime, time, timedelta})
ATOMS = frozenset({type(None), bool, int, str})


def is_pure_join(join: Any) -> bool:
    """Whether nothing but columns is compared in a join.

    A relation's own restriction may be another each time: the language that is active, say.
    """
    if isinstance(join, ForeignObjectRel):
        kind, join = type(join), join.field
        return kind.get_extra_restriction is ForeignObjectRel.get_extra_restriction and (
            is_pure_join(join)
        )
    return bool(type(join).get_extra_restriction is ForeignObject.get_extra_restriction)


@lru_cache(maxsize=1024)
def is_djangos_field(field: Any) -> bool:
    """Whether the field, or the one that its foreign key refers to, is one of Django's own."""
    while type(field) in (models.ForeignKey, models.OneToOneField):
        field = field.target_field
    return type(field) in FIELDS


class UnknownPart(Exception):
    """The query has something that may stand in its SQL in a way that is not known here."""
