"""``cached_queryset``: a queryset of the same class that reads through the cache.

How it gets in
    For each queryset class there is one subclass, made when it is first asked for, that overrides
    the methods by which a queryset reaches the database. ``isinstance`` holds, the host's methods
    stay, the ORM is left as it is (docs/explanation/caching.md says what was weighed).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
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

from . import tags
from .fills import current_fill
from .freeze import freeze_graph, thaw_graph
from .functions import tell_time
from .keys import Unkeyable, entry_key, spelled
from .reading import Question, bypass, read_through
from .reads import Pins, pins_of, refused, tags_read
from .values import freeze_column, freeze_value, thaw_column, thaw_value

if TYPE_CHECKING:
    from django.db.models.sql import Query

__all__ = ["CachedQuerySetMixin", "Options", "cached", "is_typical", "rows_form", "unbuilt"]

Q = TypeVar("Q", bound="QuerySet[Any]")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a queryset is cached; ``timeout`` in seconds."""

    timeout: float | None
    key: str | None
    cache: str
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A queryset that is not built until it is needed."""

    build: Callable[[], QuerySet[Any]]
    question: Callable[[QuerySet[Any]], Question]


class CannotCache(Exception):
    """The query cannot be cached right; the message is the reason in the statistics."""


class CachedQuerySetMixin:
    """Overrides what reaches the database in a :class:`QuerySet`."""

    _querybudget_options: Options | None = None
    # Set until the queryset is built: what the decorated function would return, and where its
    # answer is kept.
    _querybudget_unbuilt: Unbuilt | None = None

    @property
    def query(self: Any) -> Query:
        """The query, for which the decorated function is called where it was not yet."""
        if self._querybudget_unbuilt is not None:
            _build(self)
        return super().query  # type: ignore[misc,no-any-return]

    @query.setter
    def query(self: Any, value: Query) -> None:
        QuerySet.query.fset(self, value)  # type: ignore[attr-defined]

    # mypy: a mixin of QuerySet, of whatever class.
    def _clone(self: Any) -> Any:
        if self._querybudget_unbuilt is not None:
            _build(self)
        clone = super()._clone()  # type: ignore[misc]
        clone._querybudget_options = self._querybudget_options
        return clone

    def _fetch_all(self: Any) -> None:
        fetch_all = super()._fetch_all  # type: ignore[misc]
        if self._result_cache is not None or self._querybudget_options is None:
            fetch_all()
            return

        def compute() -> Any:
            if self._querybudget_unbuilt is not None:
                _build(self)
                if (fill := current_fill()) is not None and (reason := _not_to_keep(self)):
                    fill.spoil(reason)
            fetch_all()
            return self._result_cache

        try:
            unbuilt = self._querybudget_unbuilt
            question = _rows_question(self) if unbuilt is None else unbuilt.question(self)
        except CannotCache as reason:
            bypass(str(reason), compute)
            return
        rows = read_through(question, compute)
        if self._result_cache is None:
            self._result_cache = rows
            self._prefetch_done = True

    def iterator(self: Any, chunk_size: int | None = None) -> Iterator[Any]:
        """Iterate from the cache; a miss streams from the database.

        Rows that are more than one chunk (of 2,000 without ``chunk_size``) are not stored: to
        store them, all of them would have to be held at once.
        """
        if self._querybudget_unbuilt is not None:
            _build(self)
        rows = super().iterator(chunk_size)  # type: ignore[misc]
        if self._querybudget_options is None:
            return rows  # type: ignore[no-any-return]
        return _streamed(self, rows, chunk_size or 2000)

    async def aiterator(self: Any, chunk_size: int = 2000) -> AsyncIterator[Any]:
        """As :meth:`iterator`, in async code."""
        rows = await sync_to_async(self.iterator)(chunk_size)
        while chunk := await sync_to_async(lambda: list(islice(rows, chunk_size)))():
            for row in chunk:
                yield row

    def count(self: Any) -> int:
        """As :meth:`QuerySet.count`, through the cache."""
        return _scalar(self, "count", super().count, lambda number: number > 0)  # type: ignore[misc,no-any-return]

    def exists(self: Any) -> bool:
        """As :meth:`QuerySet.exists`, through the cache."""
        return _scalar(self, "exists", super().exists, bool)  # type: ignore[misc,no-any-return]

    def aggregate(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As :meth:`QuerySet.aggregate`, through the cache."""
        aggregate = super().aggregate  # type: ignore[misc]
        if self._querybudget_unbuilt is not None:
            _build(self)
        if self._querybudget_options is None:
            return aggregate(*args, **kwargs)  # type: ignore[no-any-return]
        try:
            asked = _spelled_aggregates(self, args, kwargs)
        except CannotCache as reason:
            return bypass(str(reason), lambda: aggregate(*args, **kwargs))  # type: ignore[no-any-return]
        return _scalar(  # type: ignore[no-any-return]
            self, f"aggregate {asked}", lambda: aggregate(*args, **kwargs), lambda _: False
        )

    def __reduce__(self: Any) -> Any:
        if self._querybudget_unbuilt is not None:
            _build(self)
        return _unpickled, (type(self).__mro__[2],), self.__getstate__()


def _streamed(queryset: Any, rows: Iterator[Any], size: int) -> Iterator[Any]:
    streaming = False

    def first_chunk() -> list[Any]:
        nonlocal streaming
        streaming = True
        chunk = list(islice(rows, size + 1))
        if len(chunk) > size and (fill := current_fill()) is not None:
            fill.spoil("more than one chunk")
        return chunk

    try:
        question = _rows_question(queryset)
    except CannotCache as reason:
        bypass(str(reason), list)
        yield from rows
        return
    yield from read_through(question, first_chunk)
    if streaming:
        yield from rows


def _unpickled(base: type[QuerySet[Any]]) -> QuerySet[Any]:
    subclass = _cached_class(base)
    return subclass.__new__(subclass)


@cache  # a project has so many queryset classes and no more
def _cached_class(base: type[QuerySet[Any]]) -> type[QuerySet[Any]]:
    names = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (CachedQuerySetMixin, base), names)


def cached(queryset: Q, options: Options) -> Q:
    """Return a queryset like ``queryset`` that reads through the cache."""
    base = type(queryset)
    source: Any = queryset
    clone = source._chain()
    clone.__class__ = base if issubclass(base, CachedQuerySetMixin) else _cached_class(base)
    clone._querybudget_options = options
    return clone  # type: ignore[no-any-return]


def unbuilt(
    template: Q,
    options: Options,
    build: Callable[[], QuerySet[Any]],
    question: Callable[[QuerySet[Any]], Question],
) -> Q:
    """Return a queryset that looks like ``template`` and is built by ``build`` when it has to be.

    Its rows are those of ``question``.
    """
    subclass: Any = _cached_class(type(template))
    queryset = subclass.__new__(subclass)
    queryset.__dict__.update(template.__dict__)
    queryset._querybudget_options = options
    queryset._querybudget_unbuilt = Unbuilt(build, question)
    return queryset  # type: ignore[no-any-return]


def _build(queryset: Any) -> None:
    """Make ``queryset`` the one that the decorated function returns, in place."""
    unbuilt, queryset._querybudget_unbuilt = queryset._querybudget_unbuilt, None
    rows = queryset._result_cache, queryset._prefetch_done
    try:
        built = cached(unbuilt.build(), queryset._querybudget_options)
    except BaseException:
        queryset._querybudget_unbuilt = unbuilt
        raise
    queryset.__class__ = type(built)
    queryset.__dict__.update(built.__dict__)
    queryset._result_cache, queryset._prefetch_done = rows


def _not_to_keep(queryset: Any) -> str | None:
    """Return why the rows of a queryset just built must not be kept by its arguments alone."""
    if not is_typical(queryset):
        return "a queryset that holds instances"
    try:
        _rows_question(queryset)
    except CannotCache as reason:
        return str(reason)
    return None


def is_typical(queryset: Any) -> bool:
    """Whether the queryset holds nothing of its makers' but its query."""
    return not (
        queryset._known_related_objects
        or queryset._hints
        or any(isinstance(lookup, Prefetch) for lookup in queryset._prefetch_related_lookups)
    )


# From a queryset to a question


def _compiled(query: Query, using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the query's SQL and parameters. Raises :class:`CannotCache`."""
    try:
        sql, params = query.get_compiler(using=using).as_sql()
    except (EmptyResultSet, FullResultSet):
        raise CannotCache("no query") from None
    return sql, tuple(params)


def _checked(queryset: QuerySet[Any], sql: str, params: tuple[Any, ...]) -> None:
    """Raise :class:`CannotCache` for a query whose answer depends on more than the rows."""
    if queryset.query.select_for_update:
        raise CannotCache("select_for_update")
    if reason := refused(sql):
        raise CannotCache(reason)
    if tell_time(params):
        raise CannotCache("a parameter that tells the time")
    if "?" in queryset.query.order_by:
        raise CannotCache("random order")


def _question(
    queryset: Any,
    kind: str,
    freeze: Callable[[Any], Any],
    thaw: Callable[[Any], Any],
    found: Callable[[Any], bool],
) -> Question:
    options: Options = queryset._querybudget_options
    if queryset.query.select_for_update:
        raise CannotCache("select_for_update")
    if queryset._for_write:
        raise CannotCache("for writing")
    alias = queryset.db
    connection = connections[alias]
    sql, params = _compiled(queryset.query, alias)
    _checked(queryset, sql, params)
    try:
        spelled_params = spelled(params)
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    pins: Pins | None = pins_of(queryset.query, connection)
    reads = tags_read(sql, connection, pins)
    shape = f"{kind} {alias} {queryset.model._meta.label_lower} {sql}"
    return Question(
        key=entry_key(
            tags.database_name(alias), shape, spelled_params, options.key or "",
        ),
        shape=shape,
        expected=reads.all,
        aliases=(alias,),
        freeze=freeze,
        thaw=thaw,
        found=found,
        timeout=options.timeout,
        cache=options.cache,
        user_tags=frozenset(map(tags.user_tag, options.tags)),
        pins=pins,
    )  # fmt: skip


def _rows_question(queryset: Any) -> Question:
    kind, freeze, thaw = rows_form(queryset)
    return _question(queryset, kind, freeze, thaw, bool)


def rows_form(queryset: Any) -> tuple[str, Callable[[Any], Any], Callable[[Any], Any]]:
    """Return how the queryset's rows are told apart from others, frozen and thawed."""
    iterable = queryset._iterable_class
    if iterable is ModelIterable:
        fetch_mode = getattr(queryset, "_fetch_mode", None)
        if getattr(fetch_mode, "track_peers", False):
            raise CannotCache("fetch mode that tracks peers")
        prefetches, querysets = _spelled_prefetches(queryset._prefetch_related_lookups)
        known = queryset._known_related_objects
        mode = (
            None
            if fetch_mode is None or fetch_mode.__class__.__name__ == "FetchOne"
            else fetch_mode
        )

        def thaw(payload: Any) -> list[Model]:
            instances = thaw_graph(payload, querysets, mode)
            _relate(queryset, instances)
            return instances

        return f"models {prefetches}", lambda rows: freeze_graph(rows, known), thaw
    if queryset._prefetch_related_lookups:
        raise CannotCache("prefetch of values")
    if iterable is FlatValuesListIterable:
        return "flat", freeze_column, thaw_column
    if iterable in (ValuesListIterable, NamedValuesListIterable, ValuesIterable):
        names = _row_names(queryset) if iterable is not ValuesListIterable else ()
        return (
            f"{iterable.__name__} {names}",
            lambda rows: _freeze_rows(rows, iterable),
            lambda payload: _thaw_rows(payload, iterable),
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


def _thaw_rows(payload: Mapping[str, Any], iterable: type) -> list[Any]:
    if not payload["size"]:
        return []
    names = payload["names"]
    rows = list(zip(*map(thaw_column, payload["columns"]), strict=True))
    if len(rows) != payload["size"]:
        raise ValueError("rows are missing")
    if iterable is ValuesIterable:
        return [dict(zip(names, row, strict=True)) for row in rows]
    if iterable is NamedValuesListIterable:
        make = create_namedtuple_class(*names)._make
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


def _spelled_prefetches(lookups: Any, prefix: str = "") -> tuple[str, dict[str, QuerySet[Any]]]:
    """Return what is prefetched, as part of a key, and the Prefetch objects' querysets by path."""
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
            querysets[path] = queryset
            text += f"={_spelled_queryset(queryset)}"
            inner, more = _spelled_prefetches(queryset._prefetch_related_lookups, path)
            text += f"({inner})"
            querysets |= more
        texts.append(text)
    return ";".join(texts), querysets


def _spelled_queryset(queryset: Any) -> str:
    if queryset._result_cache is not None:
        raise CannotCache("prefetch of an evaluated queryset")
    try:
        sql, params = _compiled(queryset.query, queryset.db)
        text = f"{queryset.db} {queryset.model._meta.label_lower} {sql} {spelled(params)}"
    except Unkeyable as error:
        raise CannotCache(f"parameter of type {error}") from None
    _checked(queryset, sql, params)
    return text


def _spelled_aggregates(queryset: Any, args: Any, kwargs: Mapping[str, Any]) -> str:
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
    _checked(queryset, sql, params)
    return text


def _has_alias(argument: Any) -> bool:
    try:
        return bool(argument.default_alias)
    except (AttributeError, TypeError):
        return False


def _scalar(
    queryset: Any, kind: str, compute: Callable[[], Any], found: Callable[[Any], bool]
) -> Any:
    if queryset._querybudget_unbuilt is not None and queryset._result_cache is None:
        _build(queryset)
    if queryset._querybudget_options is None or queryset._result_cache is not None:
        return compute()
    try:
        question = _question(queryset, kind, freeze_value, thaw_value, found)
    except CannotCache as reason:
        return bypass(str(reason), compute)
    return read_through(question, compute)
