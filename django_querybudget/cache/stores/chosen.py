"""Which store speaks to a cache: :func:`store_for`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.db import DEFAULT_DB_ALIAS, connections, router

from .access import client_class
from .backends import BackendStore, DatabaseStore, ProcessStore
from .no_store import NoStore
from .store import Store

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

__all__ = ["store_for"]

logger = logging.getLogger("django_querybudget")

_stores: dict[str, Store] = {}


def store_for(alias: str) -> Store:
    """Return the store on the cache ``alias``: in the way its backend does best."""
    found = _stores.get(alias)
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        # The checks say so too, but a server that serves requests runs no checks.
        if found is None or found.chosen_for is not InvalidCacheBackendError:
            logger.error("Nothing is cached in %r: %s", alias, error)
            found = _stores[alias] = NoStore(alias)
            found.chosen_for = InvalidCacheBackendError
        return found
    client = client_class(cache)
    if found is None or found.chosen_for is not client:
        if found is not None:
            found.retire()
        found = _stores[alias] = _class_for(cache)(alias)
        found.chosen_for = client
    return found


def _class_for(cache: BaseCache) -> Callable[[str], Store]:
    client: Any = getattr(cache, "client", None)
    if client is not None and type(client).__module__.startswith("django_redis."):
        from .redis import RedisStore  # only where redis is installed

        if RedisStore.takes(client):
            return RedisStore
    if isinstance(cache, BaseDatabaseCache):
        alias = router.db_for_write(cache.cache_model_class) or DEFAULT_DB_ALIAS
        return NoStore if connections[alias].vendor == "sqlite" else DatabaseStore
    return ProcessStore if ProcessStore.takes(cache) else BackendStore
