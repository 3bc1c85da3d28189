"""``cached_queryset``'s two forms, and what they accept."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar, overload

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import RawQuerySet

from django_querybudget.cache.reading.querysets import cached
from django_querybudget.cache.reading.questions import Options, options_of
from django_querybudget.conf import conf
from django_querybudget.messages.links import message_link, see

from .registered import Warm, checked_warm

__all__ = ["cached_queryset"]

Q = TypeVar("Q", bound="QuerySet[Any]")

DEFAULT: Any = object()


@overload
def cached_queryset(
    queryset: Q,
    timeout: float | None = ...,
    *,
    key: str | None = ...,
    cache: str | None = ...,
    tags: Collection[str] = ...,
    refresh: float | None = ...,
) -> Q: ...
@overload
def cached_queryset(
    queryset: Callable[..., Q],
    timeout: float | None = ...,
    *,
    key: str | None = ...,
    cache: str | None = ...,
    tags: Collection[str] = ...,
    refresh: float | None = ...,
    warm: Warm | None = ...,
) -> Callable[..., Q]: ...
@overload
def cached_queryset(
    queryset: None = ...,
    timeout: float | None = ...,
    *,
    key: str | None = ...,
    cache: str | None = ...,
    tags: Collection[str] = ...,
    refresh: float | None = ...,
    warm: Warm | None = ...,
) -> Callable[[Callable[..., Q]], Callable[..., Q]]: ...
def cached_queryset(
    queryset: object = None,
    timeout: float | None = DEFAULT,
    *,
    key: str | None = None,
    cache: str | None = None,
    tags: Collection[str] = (),
    refresh: float | None = None,
    warm: Warm | None = None,
) -> Any:
    """Return a queryset of the same class that reads through the cache; or a decorator.

    ``timeout``: how long an entry lives at most, in seconds; None for no limit (but a day for what
    is pinned to a row, to a scope or to a function's arguments), 0 for no entry at all, as in
    Django's caches; without it, ``QUERYBUDGET["CACHE"]["TIMEOUT"]``. ``key`` is one more
    part of the entries' keys: what has another key shares no entry. ``cache`` is the alias of the
    cache that holds the entries.
    ``tags`` are names for :func:`invalidate`. ``refresh=30``: an answer that is no longer true may
    be given for at most 30 seconds after it was, while one process makes it anew; never without it.

    ``@cached_queryset(timeout=…)`` decorates a function that returns a queryset. Its answer is
    kept by the function's arguments, and on a hit the function is not called; ``.invalidate(…)``
    with the same arguments drops it. ``warm`` is a list of the arguments, each a tuple, that
    ``manage.py querybudget cache warm`` calls it with, or a callable that returns the list.

    Raises :class:`TypeError` or :class:`ValueError` naming the argument that is wrong.
    """
    checked_timeout(timeout)
    checked_key(key)
    checked_cache(cache)
    checked_refresh(refresh)
    checked_warm(warm)
    names = checked_tags(tags)

    def options() -> Options:
        return options_of(
            conf.CACHE.TIMEOUT if timeout is DEFAULT else timeout,
            key,
            conf.CACHE.ALIAS if cache is None else cache,
            names,
            refresh,
        )

    # A related manager can be called, too.
    if queryset is None or (
        callable(queryset) and not isinstance(queryset, QuerySet | BaseManager | type)
    ):
        # The decorator caches querysets itself.
        from django_querybudget.cache.reading.functions import decorated

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            return decorated(function, options, warm)

        return decorate if queryset is None else decorate(queryset)
    if warm is not None:
        raise TypeError("warm is for functions that cached_queryset decorates.")
    given = options()
    return cached(checked_queryset(queryset), given if given.timeout != 0 else None)


def checked_queryset(queryset: object) -> QuerySet[Any]:
    if isinstance(queryset, RawQuerySet):
        raise TypeError(
            "queryset: a RawQuerySet cannot be cached, what it reads is not known before it runs; "
            "use the ORM, or cache the list that it makes with invalidate() in mind. "
            f"{_refused()}"
        )
    if not isinstance(queryset, QuerySet):
        hint = ""
        if hasattr(queryset, "get_queryset"):
            hint = ": call .all()"
        elif isinstance(queryset, int | float):
            hint = f": write timeout={queryset!r}"
        raise TypeError(
            f"queryset must be a QuerySet, not {type(queryset).__name__}{hint}. {_refused()}"
        )
    if queryset._result_cache is not None:
        raise ValueError(
            "queryset has been evaluated already, there is nothing to cache: wrap it before it is "
            f"iterated, or call .all() on it. {_refused()}"
        )
    return queryset


def _refused() -> str:
    return see(message_link("not-cacheable"))


def checked_timeout(timeout: object) -> None:
    if timeout is DEFAULT or timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}.")
    if not 0 <= timeout < 2**31:
        raise ValueError(f"timeout must be 0 seconds or more and less than 2**31, not {timeout!r}.")


def checked_refresh(refresh: object) -> None:
    if refresh is None:
        return
    if isinstance(refresh, bool) or not isinstance(refresh, int | float):
        raise TypeError(f"refresh must be a number of seconds or None, not {refresh!r}.")
    if not 0 < refresh < 2**31:
        raise ValueError(
            f"refresh must be more than 0 seconds and less than 2**31, not {refresh!r}."
        )


def checked_key(key: object) -> None:
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key must be a str, not {key!r}.")


def checked_cache(cache: object) -> None:
    if cache is None:
        return
    if not isinstance(cache, str):
        raise TypeError(f"cache must be the alias of a cache, not {cache!r}.")
    if cache not in settings.CACHES:
        known = ", ".join(sorted(settings.CACHES))
        raise ValueError(f"cache {cache!r} is not in CACHES; there are: {known}.")


def checked_tags(tags: object) -> frozenset[str]:
    if isinstance(tags, str) or not isinstance(tags, Collection):
        raise TypeError(f"tags must be a list of names, not {tags!r}.")
    for tag in tags:
        if not isinstance(tag, str) or not tag:
            raise TypeError(f"tags must hold names that are not empty, not {tag!r}.")
    return frozenset(tags)
