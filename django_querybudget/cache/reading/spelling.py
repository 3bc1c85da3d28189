"""A queryset's query, its prefetches and its aggregates as text for a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.models import Prefetch, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.query import (
    ModelIterable,
)

from django_querybudget.cache.keys import Unkeyable, spelled
from django_querybudget.cache.queryset_classes import (
    CannotCache,
    check_rows_method,
    spelled_state,
)
from django_querybudget.cache.relations import refused_relation
from django_querybudget.cache.sql_functions import tell_time

from .compiled import compiled
from .dependencies import refused

if TYPE_CHECKING:
    from django.db.models.sql import Query


__all__ = ["check_answer", "compiled_for", "spelled_aggregates", "spelled_prefetches"]


def compiled_for(query: Query, using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the query's SQL and its values. Raises :class:`CannotCache`."""
    try:
        return compiled(query, connections[using])
    except (EmptyResultSet, FullResultSet):
        raise CannotCache("no query") from None


def check_answer(queryset: QuerySet[Any], using: str, sql: str, params: tuple[Any, ...]) -> None:
    """Raise :class:`CannotCache` for a query whose answer depends on more than the rows."""
    if queryset.query.select_for_update:
        raise CannotCache("select_for_update")
    if reason := refused(sql, connections[using]):
        raise CannotCache(reason)
    if reason := refused_relation(sql, connections[using]):
        raise CannotCache(reason)
    if tell_time(params):
        raise CannotCache("a parameter that tells the time")
    if "?" in queryset.query.order_by:
        raise CannotCache("random order")


def spelled_prefetches(
    lookups: Any, using: str, prefix: str = ""
) -> tuple[str, dict[str, QuerySet[Any]]]:
    """Return what is prefetched, as part of a key, and the Prefetch objects' querysets by path.

    ``using`` is the alias of the rows: a prefetch of none of its own goes there as well.
    """
    texts: list[str] = []
    querysets: dict[str, QuerySet[Any]] = {}
    for lookup in lookups:
        if not isinstance(lookup, Prefetch):
            texts.append(str(lookup))
            continue
        path = LOOKUP_SEP.join(filter(None, (prefix, lookup.prefetch_to)))
        text = f"{lookup.prefetch_through}>{lookup.prefetch_to}"
        queryset = lookup.queryset
        if queryset is not None:
            if queryset._iterable_class is not ModelIterable:
                raise CannotCache("prefetch of values")
            check_rows_method(type(queryset), may_run_after=False)
            querysets[path] = queryset
            text += f"={_spelled_queryset(queryset, using)}"
            inner, more = spelled_prefetches(
                queryset._prefetch_related_lookups, queryset._db or using, path
            )
            text += f"({inner})"
            querysets |= more
        texts.append(text)
    return ";".join(texts), querysets


def _spelled_queryset(queryset: Any, using: str) -> str:
    using = queryset._db or using
    if queryset._result_cache is not None:
        raise CannotCache("prefetch of an evaluated queryset")
    try:
        sql, params = compiled_for(queryset.query, using)
        text = f"{using} {queryset.db} {queryset.model._meta.label_lower} {sql} {spelled(params)}"
        text += spelled_state(queryset)
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    check_answer(queryset, using, sql, params)
    return text


def spelled_aggregates(queryset: Any, args: Any, kwargs: Mapping[str, Any]) -> str:
    """Return the aggregates as they stand in SQL. Raises :class:`CannotCache`."""
    query = queryset.query.chain()
    named = {
        **{argument.default_alias: argument for argument in args if _has_alias(argument)},
        **kwargs,
    }
    if len(named) != len(args) + len(kwargs):
        raise CannotCache("aggregate without an alias")
    try:
        for alias, expression in named.items():
            query.add_annotation(expression, alias)
        sql, params = compiled_for(query, queryset.db)
        text = f"{sorted(named)} {sql} {spelled(params)}"
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    except CannotCache:
        raise
    except Exception as error:  # whatever is wrong with it, Django says it better
        raise CannotCache(f"aggregate that cannot be compiled: {type(error).__name__}") from error
    check_answer(queryset, queryset.db, sql, params)
    return text


def _has_alias(argument: Any) -> bool:
    try:
        return bool(argument.default_alias)
    except (AttributeError, TypeError):
        return False
