"""Caching that is never stale: reads through a cache, invalidated by every write Django sends.

Importing this package watches the writes of the process, as ``QUERYBUDGET["CACHE"]`` in the
settings does for every process of the project.
"""

from __future__ import annotations

from .api import cached_queryset
from .invalidation import grouped_invalidation, invalidate, invalidate_all
from .stats import CacheStats, cache_stats
from .writing.receivers import listen
from .writing.watcher import watch

__all__ = [
    "CacheStats",
    "cache_stats",
    "cached_queryset",
    "grouped_invalidation",
    "invalidate",
    "invalidate_all",
]

watch()
listen()
