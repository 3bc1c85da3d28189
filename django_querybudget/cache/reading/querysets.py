"""``cached_queryset``: a queryset of the same class that reads through the cache.

How it gets in
    For each queryset class there is one subclass, made when it is first asked for, that overrides
    the methods by which a queryset reaches the database. ``isinstance`` holds, the host's methods
    stay, the ORM is left as it is (docs/explanation/caching.rst says what was weighed).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from itertools import islice
from operator import methodcaller
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db.models import Prefetch, QuerySet

from django_querybudget.cache import stats
from django_querybudget.cache.payload.received import Notes, noting
from django_querybudget.cache.payload.values import freeze_value, thaw_value
from django_querybudget.cache.queryset_classes import (
    CannotCache,
    has_own,
    own_rows_method,
    own_state,
    slots_of,
)

from .audit import Again
from .codecs import Codec
from .fills import current_fill
from .leases import read_through
from .lists import listing_rows
from .questions import Options, question_of, rows_question, site_name
from .spelling import spelled_aggregates
from .through import bypass

__all__ = [
    "CachedQuerySetMixin",
    "cached",
    "cached_class",
    "capturing",
    "computed_rows",
    "is_typical",
    "rows_again",
    "take_rows",
]

Q = TypeVar("Q", bound="QuerySet[Any]")


class CachedQuerySetMixin:
    """Overrides what reaches the database in a :class:`QuerySet`."""

    _querybudget_options: Options | None = None
    # The querysets made from this one that were fetched, where somebody wants to know.
    _querybudget_fetched: list[Any] | None = None
    # What rows were made of, from when they are fetched until they are stored.
    _querybudget_received: Notes | None = None

    # mypy: a mixin of QuerySet, of whatever class; what that returns is Any to it.
    def _clone(self: Any) -> Any:
        clone = super()._clone()  # type: ignore[misc]
        clone._querybudget_options = self._querybudget_options
        clone._querybudget_fetched = self._querybudget_fetched
        return clone

    def _fetch_all(self: Any) -> None:
        if self._result_cache is None and self._querybudget_fetched is not None:
            self._querybudget_fetched.append(self)
            _fetch(self)
        elif self._result_cache is None and self._querybudget_options is not None:
            _read_rows(self, lambda: super(CachedQuerySetMixin, self)._fetch_all())  # type: ignore[misc]
        # What the host's own method does to rows that have been fetched.
        super()._fetch_all()  # type: ignore[misc]

    def iterator(self: Any, chunk_size: int | None = None) -> Iterator[Any]:
        """Iterate from the cache; a miss streams from the database.

        Rows that are more than one chunk (of 2,000 without ``chunk_size``) are not stored: to
        store them, all of them would have to be held at once.
        """
        rows = super().iterator(chunk_size)  # type: ignore[misc]
        if self._querybudget_options is None:
            return rows  # type: ignore[no-any-return]
        for name in ("iterator", "_iterator"):
            if has_own(self, name):
                return _bypass(self, f"own method {name}()", lambda: rows)  # type: ignore[no-any-return]
        return _streamed(self, rows, chunk_size or 2000)

    async def aiterator(self: Any, chunk_size: int = 2000) -> AsyncIterator[Any]:
        """As :meth:`iterator`, in async code."""
        rows = await sync_to_async(self.iterator)(chunk_size)
        while chunk := await sync_to_async(lambda: list(islice(rows, chunk_size)))():
            for row in chunk:
                yield row

    def count(self: Any) -> int:
        """As :meth:`QuerySet.count`, through the cache."""
        return _scalar(self, "count", super().count, bool)  # type: ignore[misc,no-any-return]

    def exists(self: Any) -> bool:
        """As :meth:`QuerySet.exists`, through the cache."""
        return _scalar(self, "exists", super().exists, bool)  # type: ignore[misc,no-any-return]

    def aggregate(self: Any, *args: object, **kwargs: object) -> dict[str, Any]:
        """As :meth:`QuerySet.aggregate`, through the cache."""
        aggregate = super().aggregate  # type: ignore[misc]
        if self._querybudget_options is None:
            return aggregate(*args, **kwargs)  # type: ignore[no-any-return]
        if has_own(self, "aggregate"):
            return _bypass(self, "own method aggregate()", lambda: aggregate(*args, **kwargs))  # type: ignore[no-any-return]
        try:
            asked = spelled_aggregates(self, args, kwargs)
        except CannotCache as reason:
            return _bypass(self, str(reason), lambda: aggregate(*args, **kwargs))  # type: ignore[no-any-return]
        return _scalar(  # type: ignore[no-any-return]
            self,
            f"aggregate {asked}",
            lambda: aggregate(*args, **kwargs),
            lambda _: False,
            methodcaller("aggregate", *args, **kwargs),
        )

    def __reduce__(self: Any) -> Any:
        return _unpickled, (type(self).__mro__[2],), self.__getstate__()


def _bypass(queryset: Any, reason: str, compute: Callable[[], Any]) -> Any:
    return bypass(reason, compute, site_name(queryset.model._meta.label))


def _read_rows(queryset: Any, fetch_all: Callable[[], None]) -> None:
    """Fill the queryset's result cache; ``fetch_all`` is what the host's class does for that."""
    try:
        question = rows_question(queryset)
    except CannotCache as reason:
        _bypass(queryset, str(reason), fetch_all)
        return
    try:
        rows = read_through(
            question, partial(computed_rows, queryset), partial(rows_again, queryset)
        )
    finally:
        queryset._querybudget_received = None
    take_rows(queryset, rows)


def computed_rows(queryset: Any) -> Any:
    """Return the rows from the database, noting what they were made of.

    Who has stored them sets ``_querybudget_received`` to None.
    """
    _fetch(queryset)
    return queryset._result_cache


def _fetch(queryset: Any) -> None:
    with listing_rows(queryset), noting(queryset) as queryset._querybudget_received:
        QuerySet._fetch_all(queryset)


def take_rows(queryset: Any, rows: list[Any]) -> None:
    """Let the queryset have these rows, if it has none."""
    if queryset._result_cache is None:
        queryset._result_cache = rows
        queryset._prefetch_done = True


def _again(queryset: Any, read: Callable[[Any], object]) -> Again:
    own = queryset._chain()  # what becomes of the caller's is the caller's
    return Again(lambda: read(own._chain()), not queryset.ordered)


def rows_again(queryset: Any) -> Again:
    """Return how the queryset's rows are read once more, to be audited."""
    return _again(queryset, _read_again)


def _read_again(queryset: Any) -> None:
    _read_rows(queryset, lambda: None)


def _streamed(queryset: Any, rows: Iterator[Any], size: int) -> Iterator[Any]:
    streaming = False

    def first_chunk() -> list[Any]:
        nonlocal streaming
        streaming = True
        with noting(queryset) as queryset._querybudget_received:
            chunk = list(islice(rows, size + 1))
        if len(chunk) > size and (fill := current_fill()) is not None:
            fill.spoil("more than one chunk")
        return chunk

    try:
        question = rows_question(queryset)
    except CannotCache as reason:
        _bypass(queryset, str(reason), list)
        yield from rows
        return
    try:
        chunk = read_through(question, first_chunk, lambda: _again(queryset, _read_again))
    finally:
        queryset._querybudget_received = None
    yield from chunk
    if streaming:
        yield from rows


def _unpickled(base: type[QuerySet[Any]]) -> QuerySet[Any]:
    subclass = cached_class(base)
    return subclass.__new__(subclass)


@cache  # a project has so many queryset classes and no more
def cached_class(base: type[QuerySet[Any]]) -> type[QuerySet[Any]]:
    """Return the subclass that reads through the cache."""
    if issubclass(base, CachedQuerySetMixin):
        return base
    names = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_querybudget_base": base,
    }
    return type(base.__name__, (CachedQuerySetMixin, base), names)


def cached(queryset: Q, options: Options | None) -> Q:
    """Return a queryset like ``queryset`` that reads through the cache; past it without options."""
    source: Any = queryset
    clone = source._chain()
    base: Any = type(clone)
    if issubclass(base, CachedQuerySetMixin):
        made: Any = clone
    else:
        try:
            subclass = cached_class(base)
        except Exception as error:  # a metaclass or __init_subclass__() objects
            stats.count_bypass(f"class {base.__qualname__} has no subclass ({error})")
            return clone  # type: ignore[no-any-return]
        # Not by its __class__: the layouts of classes with __slots__ or Generic differ.
        made = object.__new__(subclass)
        made.__dict__.update(clone.__dict__)
        for name in slots_of(base):
            if hasattr(clone, name):
                setattr(made, name, getattr(clone, name))
    made._querybudget_options = options
    return made  # type: ignore[no-any-return]


def capturing(queryset: Q) -> tuple[Q, list[Any]]:
    """Return a queryset like ``queryset`` that reads from the database.

    In the list are those of it, and of what is made from it, that were fetched.
    """
    made: Any = cached(queryset, None)
    made._querybudget_fetched = []
    return made, made._querybudget_fetched


def is_typical(queryset: Any) -> bool:
    """Whether the queryset holds nothing of its makers' but its query."""
    return not (
        own_state(queryset)
        or own_rows_method(type(queryset), may_run_after=False)
        or queryset._known_related_objects
        or queryset._hints
        or any(isinstance(lookup, Prefetch) for lookup in queryset._prefetch_related_lookups)
    )


def _as_it_is(payload: object) -> Any:
    return payload


def _scalar(
    queryset: Any,
    kind: str,
    compute: Callable[[], Any],
    found: Callable[[Any], bool],
    again: Callable[[Any], object] | None = None,
) -> Any:
    if queryset._querybudget_options is None or queryset._result_cache is not None:
        return compute()
    if has_own(queryset, kind.partition(" ")[0]):
        return _bypass(queryset, f"own method {kind}()", compute)
    try:
        codec = Codec(kind, freeze_value, _as_it_is, thaw_value)
        question = question_of(queryset, codec, found)
    except CannotCache as reason:
        return _bypass(queryset, str(reason), compute)
    return read_through(question, compute, lambda: _again(queryset, again or methodcaller(kind)))
