"""What ``check --deploy`` asks of the cache's server, for a bounded time.

===================  ============================================================================
``querybudget.W025``  The cache's user may run no scripts: nothing is cached.
``querybudget.W026``  The cache's client has no time limit: a server that hangs hangs requests.
``querybudget.W027``  The server may not say what it evicts, or evicts the pulse first.
===================  ============================================================================
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from django_querybudget.conf import conf

from .chosen import store_for

__all__ = ["server_messages"]


def server_messages() -> list[CheckMessage]:
    """Return what keeps a Redis from being used, or makes it slow; one that is away is not told."""
    alias = conf.CACHE.ALIAS
    store: Any = store_for(alias) if alias in settings.CACHES else None
    if store is None or not store.has_rights:
        return []
    return [*_limits(store, alias), *_rights(store, alias)]


def _limits(store: Any, alias: str) -> Iterator[CheckMessage]:
    options = store.pool.connection_kwargs
    # redis-py 8 has a limit of its own where none is given.
    missing = [
        name.upper()
        for name in ("socket_connect_timeout", "socket_timeout")
        if not options.get(name, store.default_limit)
    ]
    if missing:
        yield Warning(
            f"The client of CACHES[{alias!r}] has no {' and no '.join(missing)}: while Redis does "
            f"not answer, whatever of yours asks it waits, for hours if it must.",
            hint='CACHES[…]["OPTIONS"] = {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1}',
            id="querybudget.W026",
        )


def _rights(store: Any, alias: str) -> Iterator[CheckMessage]:
    from redis.exceptions import RedisError, ResponseError

    deadline = time.monotonic() + 2.0
    try:
        store.try_scripts()
        policy = store.eviction_policy() if time.monotonic() < deadline else ""
    except ResponseError as error:
        yield Warning(
            f"Nothing is cached in {alias!r}: its server refuses scripts ({error}).",
            hint="Give its user the right to EVAL and EVALSHA, and to all keys that begin with "
            f"{conf.CACHE.TOKEN_PREFIX + 'qb:'!r}.",
            id="querybudget.W025",
        )
        return
    except (RedisError, OSError):
        return  # away: that is not a setting's fault
    if policy == "?":
        yield Warning(
            f"The user of {alias!r} may not ask for INFO: what was written or first read in the "
            "last seconds is not stored, since its tokens might have been evicted.",
            hint="Give it the right to INFO.",
            id="querybudget.W027",
        )
    elif policy == "volatile-ttl":
        yield Warning(
            f"The server of {alias!r} evicts what lives shortest first (volatile-ttl): when it is "
            "full, that is the key which says that the cache can be trusted, and nothing is read "
            "from it.",
            hint="Set maxmemory-policy to allkeys-lru or allkeys-lfu.",
            id="querybudget.W027",
        )
