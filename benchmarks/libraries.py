"""How each library is asked to cache a queryset."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db.models import QuerySet


def querybudget(queryset: QuerySet[Any]) -> QuerySet[Any]:
    from django_querybudget.cache import cached_queryset

    return cached_queryset(queryset, 600)


def cacheops(queryset: QuerySet[Any]) -> QuerySet[Any]:
    ops = ["get", "fetch", "count", "aggregate", "exists"]
    cached: QuerySet[Any] = queryset.cache(ops=ops, timeout=600)  # type: ignore[attr-defined]  # cacheops adds it
    return cached


def cachalot(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """It caches every queryset by itself."""
    return queryset


def without(library: str) -> AbstractContextManager[Any]:
    """Return a context in which a queryset is read from the database."""
    if library == "cachalot":
        from cachalot.api import cachalot_disabled

        return cachalot_disabled()  # type: ignore[no-any-return]  # cachalot has no types
    return nullcontext()
