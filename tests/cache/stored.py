"""What a cache holds, taken and put back: a warm cache for a test, without warming it again."""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django_redis.cache import RedisCache

from django_querybudget.cache.stores.pulse import LIFE, PULSE
from django_querybudget.cache.stores.tag_keys import tag_key

Stored = list[tuple[Any, Any, Any]]
"""Key, value and end of life of each entry, in the cache's own form."""


def taken(cache: str) -> Stored:
    """Return all that ``cache`` (django-redis, or one in memory) holds."""
    backend: Any = caches[cache]
    if isinstance(backend, RedisCache):
        client = backend.client.get_client()
        return [(key, client.dump(key), client.pttl(key)) for key in client.scan_iter(count=1000)]
    return [(key, value, backend._expire_info[key]) for key, value in backend._cache.items()]


def put_back(cache: str, stored: Stored) -> None:
    """Have ``cache`` hold ``stored`` and nothing else; lives begin anew."""
    backend: Any = caches[cache]
    backend.clear()
    if isinstance(backend, RedisCache):
        pipeline = backend.client.get_client().pipeline(transaction=True)
        for key, value, life in stored:
            pipeline.restore(key, max(life, 0), value, replace=True)
        # Else it lives as long as was left of it when it was taken, and that may be no time.
        pipeline.pexpire(tag_key(PULSE), int(LIFE * 1000))
        pipeline.execute()
        return
    for key, value, end in stored:
        backend._cache[key] = value
        backend._expire_info[key] = end
