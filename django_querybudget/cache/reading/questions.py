"""From a queryset to a :class:`~.reading.Question`: its key, its tags, its rows as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.models import Model, Prefetch, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    NamedValuesListIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.utils import create_namedtuple_class

from django_querybudget.cache import sessions, tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.payload.freeze import freeze_graph
from django_querybudget.cache.payload.thaw import prepared_graph, thaw_graph
from django_querybudget.cache.payload.values import Column, freeze_column
from django_querybudget.cache.queryset_classes import (
    CannotCache,
    check_rows_method,
    is_model_iterable,
    spelled_state,
)
from django_querybudget.cache.relations import refused_relation
from django_querybudget.cache.sql_functions import tell_time

from .compiled import compiled
from .dependencies import Pins, pins_of, refused, tags_read, withheld
from .through import Form, Question

if TYPE_CHECKING:
    from django.db.models.sql import Query

__all__ = [
    "CannotCache",
    "Options",
    "question_of",
    "rows_form",
    "rows_question",
    "spelled_aggregates",
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a queryset is cached; ``timeout`` in seconds."""

    timeout: float | None
    key: str | None
    cache: str
    tags: frozenset[str]


def _compiled(query: Query, using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the query's SQL and its values. Raises :class:`CannotCache`."""
    try:
        return compiled(query, connections[using])
    except (EmptyResultSet, FullResultSet):
        raise CannotCache("no query") from None


def _checked(queryset: QuerySet[Any], using: str, sql: str, params: tuple[Any, ...]) -> None:
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


def question_of(
    queryset: Any, form: Form, found: Callable[[Any], bool], *, is_of_rows: bool = False
) -> Question:
    """Return what the queryset asks. ``found`` says whether an answer holds a row.

    ``is_of_rows`` is whether the queryset's own statement is sent. What a count or an aggregate
    asks is another one, which is looked at when it is sent.

    Raises :class:`CannotCache`.
    """
    options: Options | None = getattr(queryset, "_querybudget_options", None)
    if options is None:
        raise CannotCache(f"class {type(queryset).__qualname__} has no subclass")
    if queryset.query.select_for_update:
        raise CannotCache("select_for_update")
    if queryset._for_write:
        raise CannotCache("for writing")
    alias = queryset.db
    connection = connections[alias]
    sql, params = _compiled(queryset.query, alias)
    _checked(queryset, alias, sql, params)
    if is_of_rows and (reason := withheld(sql, connection)):
        raise CannotCache(reason)
    try:
        spelled_params = spelled(params)
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    try:
        session = sessions.text_of(connection)
    except sessions.Unknown as reason:
        raise CannotCache(str(reason)) from None
    pins: Pins | None = pins_of(queryset.query, connection)
    reads = tags_read(sql, connection, pins)
    state = spelled_state(queryset)
    shape = f"{form.kind} {state} {alias} {queryset.model._meta.label_lower} {sql}"
    return Question(
        # With the tags: an entry of who gave others depends on more, or on too little.
        key=entry_key(
            tags.database_name(alias), session, shape, spelled_params, options.key or "",
            *sorted(options.tags),
        ),
        shape=shape,
        expected=reads.all,
        aliases=(alias,),
        sessions={alias: session},
        form=form,
        found=found,
        timeout=options.timeout,
        cache=options.cache,
        user_tags=frozenset(map(tags.user_tag, options.tags)),
        pins=pins,
    )  # fmt: skip


def rows_question(queryset: Any) -> Question:
    """Return what the queryset asks when it is iterated. Raises :class:`CannotCache`."""
    return question_of(queryset, rows_form(queryset), bool, is_of_rows=True)


def rows_form(queryset: Any) -> Form:
    """Return the form of the queryset's rows. Raises :class:`CannotCache`."""
    iterable = queryset._iterable_class
    check_rows_method(type(queryset), may_run_after=True)
    if is_model_iterable(iterable):
        fetch_mode = getattr(queryset, "_fetch_mode", None)
        if getattr(fetch_mode, "track_peers", False):
            raise CannotCache("fetch mode that tracks peers")
        prefetches, querysets = _spelled_prefetches(queryset._prefetch_related_lookups, queryset.db)
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
        return Form(f"{kind} {prefetches}", freeze, prepared_graph, thaw)
    if queryset._prefetch_related_lookups:
        raise CannotCache("prefetch of values")
    if iterable is FlatValuesListIterable:
        return Form("flat", freeze_column, Column, lambda column: list(column.values()))
    if iterable in (ValuesListIterable, NamedValuesListIterable, ValuesIterable):
        names = _row_names(queryset) if iterable is not ValuesListIterable else ()
        return Form(
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


def _prepared_rows(payload: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Column]]:
    columns = [Column(frozen) for frozen in payload["columns"]]
    if any(len(column.values()) != payload["size"] for column in columns):
        raise ValueError("rows are missing")
    return payload["names"], columns


def _thaw_rows(names: Sequence[str], columns: Sequence[Column], iterable: type) -> list[Any]:
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


def _spelled_prefetches(
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
            inner, more = _spelled_prefetches(
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
        sql, params = _compiled(queryset.query, using)
        text = f"{using} {queryset.db} {queryset.model._meta.label_lower} {sql} {spelled(params)}"
        text += spelled_state(queryset)
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    _checked(queryset, using, sql, params)
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
        sql, params = _compiled(query, queryset.db)
        text = f"{sorted(named)} {sql} {spelled(params)}"
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    except CannotCache:
        raise
    except Exception as error:  # whatever is wrong with it, Django says it better
        raise CannotCache(f"aggregate that cannot be compiled: {type(error).__name__}") from error
    _checked(queryset, queryset.db, sql, params)
    return text


def _has_alias(argument: Any) -> bool:
    try:
        return bool(argument.default_alias)
    except (AttributeError, TypeError):
        return False
