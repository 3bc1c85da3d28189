"""What a related queryset is beyond ``all()``: its refinements, as names and as code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Model, QuerySet

from .instances import attributes_of
from .loads import Aggregate
from .relations import quoted, step_of

__all__ = ["chain_of", "plain_aggregate", "refinements", "relation_of_manager"]


def relation_of_manager(manager: Any) -> tuple[type[Model], Any] | None:
    """Return the relation that a related manager is for."""
    held = attributes_of(manager)
    owner = type(held["instance"])
    reverse = getattr(held.get("field"), "remote_field", None)
    if reverse is not None and reverse.field.many_to_one:  # A foreign key's other end.
        return owner, reverse
    name = held.get("prefetch_cache_name")
    for relation in (*owner._meta.many_to_many, *owner._meta.related_objects):
        if name is not None and name in (relation.name, step_of(relation).accessor):
            return owner, relation
    return None


def refinements(queryset: QuerySet[Any], operation: str) -> Iterator[str]:
    query: Any = queryset.query
    if queryset._fields is not None:  # type: ignore[attr-defined]
        yield "values"
    if query.order_by:  # Of first() and last() too: it is the caller's, not the key's they add.
        yield "order_by"
    if query.is_sliced and operation not in ("first", "last", "exists", "get"):
        yield "slice"
    if query.distinct:
        yield "distinct"
    if query.annotations:
        yield "annotate"
    if query.deferred_loading[0]:
        yield "defer" if query.deferred_loading[1] else "only"
    if isinstance(query.select_related, dict) and query.select_related:
        yield "select_related"
    if query.select_for_update:
        yield "select_for_update"
    if queryset._prefetch_related_lookups:  # type: ignore[attr-defined]
        yield "prefetch_related"


def chain_of(queryset: QuerySet[Any]) -> str | None:
    """Return the refinements as code to put after ``filter()``; None if they are no plain code."""
    query: Any = queryset.query
    if set(refinements(queryset, "")) - {"order_by", "slice", "prefetch_related"}:
        return None
    code = ""
    lookups = queryset._prefetch_related_lookups  # type: ignore[attr-defined]
    if lookups:
        if not all(isinstance(each, str) for each in lookups):
            return None
        code = f".prefetch_related({', '.join(map(quoted, lookups))})"
    if query.order_by:
        if not all(isinstance(name, str) for name in query.order_by):
            return None
        code += f".order_by({', '.join(map(quoted, query.order_by))})"
    if query.is_sliced:
        low = query.low_mark or ""
        code += f"[{low}:{'' if query.high_mark is None else query.high_mark}]"
    return code


def plain_aggregate(arguments: dict[str, Any]) -> Aggregate | None:
    args, kwargs = arguments.get("args", ()), arguments.get("kwargs", {})
    # aggregate() itself puts those without a name among those with one.
    named = {**{each.default_alias: each for each in args}, **kwargs}
    if len(named) != 1:
        return None
    ((alias, expression),) = named.items()
    sources = expression.get_source_expressions()
    name = getattr(sources[0], "name", None) if sources else None
    if not name or any(sources[1:]) or getattr(expression, "distinct", False):
        return None
    return Aggregate(alias, type(expression).__name__, str(name))
