"""How each library is asked to cache a queryset."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet


def querybudget(queryset: QuerySet[Any]) -> QuerySet[Any]:
    from django_querybudget.cache import cached_queryset

    return cached_queryset(queryset, 600)


def cacheops(queryset: QuerySet[Any]) -> QuerySet[Any]:
    ops = ["get", "fetch", "count", "aggregate", "exists"]
    cached: QuerySet[Any] = queryset.cache(ops=ops, timeout=600)  # type: ignore[attr-defined]
    return cached


def cachalot(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """It caches every queryset by itself."""
    return queryset
