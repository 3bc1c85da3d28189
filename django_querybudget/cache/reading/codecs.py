"""How answers are kept: rows, and values of them, as plain values and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.utils import create_namedtuple_class

from django_querybudget.cache.payload.freeze import freeze_graph
from django_querybudget.cache.payload.thaw import prepared_graph, thaw_graph
from django_querybudget.cache.payload.values import FrozenColumn, freeze_column
from django_querybudget.cache.queryset_classes import (
    CannotCache,
    check_rows_method,
    is_model_iterable,
)

from .spelling import spelled_prefetches

__all__ = ["Codec", "rows_codec"]


@dataclass(slots=True)
class Codec:
    """How an answer is told apart from others, and made to plain values and back.

    ``prepare`` reads plain values, and depends on nothing else: what it returns may be given to
    ``thaw`` any number of times.
    """

    kind: str
    freeze: Callable[[Any], Any]
    prepare: Callable[[Any], Any]
    thaw: Callable[[Any], Any]
    essence: Callable[[Any], Any] = lambda frozen: frozen
    """What of an answer's plain values has to be equal for the answers to be (the audit's)."""


def rows_codec(queryset: Any) -> Codec:
    """Return how the queryset's rows are kept. Raises :class:`CannotCache`."""
    iterable = queryset._iterable_class
    check_rows_method(type(queryset), may_run_after=True)
    if is_model_iterable(iterable):
        fetch_mode = getattr(queryset, "_fetch_mode", None)
        if getattr(fetch_mode, "track_peers", False):
            raise CannotCache("fetch mode that tracks peers")
        prefetches, querysets = spelled_prefetches(queryset._prefetch_related_lookups, queryset.db)
        known = queryset._known_related_objects
        mode = (
            None
            if fetch_mode is None or fetch_mode.__class__.__name__ == "FetchOne"
            else fetch_mode
        )

        def thaw(graph: Any) -> list[Model]:
            instances = thaw_graph(graph, querysets, mode)
            _relate(queryset, instances)
            return instances

        def freeze(rows: list[Model]) -> Any:
            return freeze_graph(rows, known, queryset._querybudget_received or {})

        kind = "models" if iterable is ModelIterable else iterable.__qualname__
        return Codec(f"{kind} {prefetches}", freeze, prepared_graph, thaw)
    if queryset._prefetch_related_lookups:
        raise CannotCache("prefetch of values")
    if iterable is FlatValuesListIterable:
        return Codec("flat", freeze_column, FrozenColumn, lambda column: list(column.values()))
    if iterable in (ValuesListIterable, NamedValuesListIterable, ValuesIterable):
        names = _row_names(queryset) if iterable is not ValuesListIterable else ()
        return Codec(
            f"{iterable.__name__} {names}",
            lambda rows: _freeze_rows(rows, iterable),
            _prepared_rows,
            lambda prepared: _thaw_rows(prepared[0], prepared[1], iterable),
        )
    raise CannotCache(f"iterable {iterable.__qualname__}")


def _row_names(queryset: Any) -> tuple[str, ...]:
    query = queryset.query
    return (
        *(queryset._fields or ()), "/",
        *query.extra_select, *query.values_select, *query.annotation_select,
    )  # fmt: skip


def _freeze_rows(rows: Any, iterable: type) -> Any:
    if not rows:
        return {"names": [], "size": 0, "columns": []}
    if iterable is ValuesIterable:
        names = list(rows[0])
        columns = [freeze_column([row[name] for row in rows]) for name in names]
    else:
        names = list(getattr(rows[0], "_fields", ()))
        columns = [freeze_column(list(column)) for column in zip(*rows, strict=True)]
    return {"names": names, "size": len(rows), "columns": columns}


def _prepared_rows(payload: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[FrozenColumn]]:
    columns = [FrozenColumn(frozen) for frozen in payload["columns"]]
    if any(len(column.values()) != payload["size"] for column in columns):
        raise ValueError("rows are missing")
    return payload["names"], columns


def _thaw_rows(names: Sequence[str], columns: Sequence[FrozenColumn], iterable: type) -> list[Any]:
    rows = list(zip(*(column.values() for column in columns), strict=True))
    if iterable is ValuesIterable:
        return [dict(zip(names, row, strict=True)) for row in rows]
    if iterable is NamedValuesListIterable:
        make = create_namedtuple_class(*names)._make if rows else tuple
        return [make(row) for row in rows]
    return rows


def _relate(queryset: Any, instances: list[Model]) -> None:
    """Put in the instances that the queryset's owner brought, as ModelIterable does."""
    for field, known in queryset._known_related_objects.items():
        names = [
            field.attname if name == "self" else queryset.model._meta.get_field(name).attname
            for name in field.from_fields
        ]
        for instance in instances:
            if field.is_cached(instance) or any(name not in instance.__dict__ for name in names):
                continue
            values = tuple(instance.__dict__[name] for name in names)
            related = known.get(values if len(values) > 1 else values[0])
            if related is not None:
                setattr(instance, field.name, related)
