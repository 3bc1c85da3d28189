"""Caching that is never stale: reads through a cache, invalidated by every write Django sends.

Importing this package watches the writes of the process, as ``QUERYBUDGET["CACHE"]`` in the
settings does for every process of the project.
"""

from __future__ import annotations

from django_querybudget.cache.reading.together import afetch_together, fetch_together
from django_querybudget.cache.writing.invalidation import (
    grouped_invalidation,
    invalidate,
    invalidate_all,
)
from django_querybudget.cache.writing.receivers import listen
from django_querybudget.cache.writing.watcher import watch

from .api import cached_queryset
from .published import cache_stats
from .sites import SiteStats
from .stats import CacheStats
from .views import CachedViewMixin, cached_view

__all__ = [
    "CacheStats",
    "CachedViewMixin",
    "SiteStats",
    "afetch_together",
    "cache_stats",
    "cached_queryset",
    "cached_view",
    "fetch_together",
    "grouped_invalidation",
    "invalidate",
    "invalidate_all",
]

watch()
listen()
