"""The caches that hold tokens and entries: what is asked of them, and what when they fail.

A :class:`Store` speaks to one of Django's caches. Its errors never reach the host: a read that
fails is a read from the database, and after it the store is *distrusted*: nothing is read from it
until a new token stands under everything. So a write whose renewal was lost in between, be it of a
process that has died since, cannot leave an old entry behind.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.db import DEFAULT_DB_ALIAS, connections, router

from django_querybudget.cache import stats, tags
from django_querybudget.cache.tokens import TagValue, new_token

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

__all__ = ["Store", "is_busy", "store_for"]

R = TypeVar("R")

logger = logging.getLogger("django_querybudget")

PAUSE = 1.0
"""How often it is tried whether a cache that failed is back, in seconds."""

TRANSIENT_TIMEOUT = 24 * 3600
"""How long the token of a row, of a scope's value or of the host's own tag lives, in seconds."""

_SAFE = re.compile(r"[\x21-\x7e]{1,150}")
_LOG_EVERY = 60.0
_FAILED = object()
_busy: ContextVar[bool] = ContextVar("querybudget_cache_busy", default=False)


is_busy = _busy.get
"""Whether the statement that runs now is a cache's own (Django's database cache)."""


@lru_cache(maxsize=4096)
def tag_key(tag: str) -> str:
    """Return the cache key of a tag; a tag that some cache cannot have in a key is hashed."""
    return f"qb:t:{tag}" if _SAFE.fullmatch(tag) else f"qb:h:{tags.digest(tag)}"


class Store:
    """One cache: entries by key, and tags with their values.

    This form works with every backend of Django. Marks and tokens are read, changed and written
    under a lock of this process: between processes, a writer can lose another's mark, which
    shortens a guarantee (see docs/explanation/caching.md) and breaks none that hangs on tokens.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.distrusted = False
        # Goes up with each failure and each change that was skipped: who renewed everything may
        # trust the store again only if nothing came to be owed meanwhile.
        self._owed = 0
        self._owing = threading.Lock()
        self._tried_at = time.monotonic()
        self._lock = threading.Lock()
        self._logged_at = float("-inf")
        self._retrying: threading.Thread | None = None

    @property
    def cache(self) -> BaseCache:
        """This thread's client."""
        return caches[self.alias]

    # What is asked of a store

    def read(self, key: str | None, wanted: Collection[str]) -> tuple[Any, dict[str, str]] | None:
        """Return what stands under ``key`` and the values of the tags that have one, at once.

        Others may have put anything there: :func:`.entries.decoded` tells. None where the cache
        cannot be asked or be trusted.
        """
        if not self._recovered():
            return None
        return self._guarded(None, self._read, key, wanted)

    def ensure(self, missing: Collection[str]) -> dict[str, str]:
        """Give each tag without a value a fresh token; return the values that stand then."""
        return self._guarded({}, self._ensure, missing)

    def write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        """Store an entry. Returns whether the cache took it."""
        return self._guarded(False, self._write, key, entry, timeout)

    def mark(self, wanted: Collection[str], writer: str, timeout: float) -> bool:
        """Put ``writer``'s mark on the tags, for ``timeout`` seconds at most."""
        stats.count("marks")
        return self._change(self._mark, wanted, writer, timeout)

    def renew(self, wanted: Collection[str], writer: str = "", *, marked: bool = False) -> bool:
        """Put a new token under each tag, and take ``writer``'s mark away.

        ``marked``: the mark stands under all of them, and will for a while. Nobody trusts the
        tags until the renewal has arrived, so that it need not be waited for.
        """
        stats.count("invalidations")
        return self._change(self._renew, wanted, writer, marked)

    # How Django's caches do it

    def _read(self, key: str | None, wanted: Collection[str]) -> tuple[Any, dict[str, str]]:
        keys = {tag_key(tag): tag for tag in wanted}
        found = self.cache.get_many([*keys, key] if key else list(keys))
        entry = found.pop(key, None) if key else None
        values = {keys[name]: value for name, value in found.items() if isinstance(value, str)}
        return entry, values

    def _ensure(self, missing: Collection[str]) -> dict[str, str]:
        for tag in missing:
            self.cache.add(tag_key(tag), new_token(), self._token_timeout(tag))
        return self._read(None, missing)[1]

    def _write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        return key not in (self.cache.set_many({key: entry}, timeout) or ())

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        now = _milliseconds()
        deadline = now + int(timeout * 1000)
        self._replace(wanted, lambda value: value.marked(writer, now, deadline, new_token()))

    def _renew(self, wanted: Collection[str], writer: str, marked: bool = False) -> None:
        del marked  # Django's caches answer always
        fresh, now = new_token(), _milliseconds()
        self._replace(wanted, lambda value: value.renewed(writer, now, fresh))

    def _replace(self, wanted: Collection[str], changed: Callable[[TagValue], TagValue]) -> None:
        with self._lock:
            _, values = self._read(None, wanted)
            by_timeout: dict[float | None, dict[str, str]] = {}
            for tag in wanted:
                value = changed(TagValue.parse(values.get(tag, "")))
                # A second more: a mark must not outlive its key's own clock by rounding.
                left = (value.deadline - _milliseconds()) / 1000 if value.marks else None
                timeout = self._token_timeout(tag) if left is None else max(1, int(left + 1))
                by_timeout.setdefault(timeout, {})[tag_key(tag)] = str(value)
            for timeout, items in by_timeout.items():
                if failed := self.cache.set_many(items, timeout):
                    raise CacheRefused(f"the cache did not take {sorted(failed)}")

    @staticmethod
    def _token_timeout(tag: str) -> float | None:
        return TRANSIENT_TIMEOUT if tags.is_transient(tag) else None

    # What when it fails

    def _guarded(self, otherwise: R, operation: Callable[..., R], *arguments: Any) -> R:
        """Run ``operation``; after an error, distrust the store and return ``otherwise``."""
        token = _busy.set(True)
        try:
            return operation(*arguments)
        except Exception as error:  # noqa: BLE001  # a cache's error must not be the host's
            self._failed(error)
            return otherwise
        finally:
            _busy.reset(token)

    def _change(self, operation: Callable[..., None], *arguments: Any) -> bool:
        """Run a change of tags. While the store is distrusted: not, since all is renewed then."""
        if not self._recovered():
            with self._owing:
                self._owed += 1
                self.distrusted = True
            return False
        return self._guarded(_FAILED, operation, *arguments) is None

    def _failed(self, error: Exception) -> None:
        stats.count("errors")
        now = time.monotonic()
        with self._owing:
            self._owed += 1
            self.distrusted = True
        if now - self._logged_at > _LOG_EVERY:
            self._logged_at = now
            logger.warning(
                "The cache %r failed (%s: %s). Reads go to the database until it is back and all "
                "that is in it has been invalidated.",
                self.alias, type(error).__name__, error,
            )  # fmt: skip
        self._start_retrying()

    def _start_retrying(self) -> None:
        if self._retrying is None or not self._retrying.is_alive():
            # So that a process that has nothing more to read or write renews what it owes, too.
            self._retrying = threading.Thread(
                target=self._retry, name=f"querybudget-retry-{self.alias}", daemon=True
            )
            self._retrying.start()

    def _retry(self) -> None:
        try:
            while self.distrusted:
                time.sleep(PAUSE)
                self._recover()
        finally:
            connections.close_all()  # this thread's own, where the cache is in a database

    def _recovered(self) -> bool:
        """Return whether the store can be trusted.

        A client may take seconds to find that a server is still away: that is the retrying
        thread's to wait for, and a request's only where no thread runs (in a forked process, or
        in a server that lets none run).
        """
        if not self.distrusted:
            return True
        self._start_retrying()
        return time.monotonic() > self._tried_at + 20 * PAUSE and self._recover()

    def _recover(self) -> bool:
        """Try to make the store one that can be trusted: with a new token under everything."""
        self._tried_at = time.monotonic()
        owed = self._owed
        everything = [tags.everything(database) for database in tags.every_database()]
        if self._guarded(_FAILED, self._renew, everything, "") is not None:
            return False
        with self._owing:
            if self._owed == owed:
                self.distrusted = False
                return True
        return False  # a renewal was skipped meanwhile


class CacheRefused(Exception):
    """A cache did not take a value, and said so by its return value alone."""


def _milliseconds() -> int:
    return int(time.time() * 1000)


_stores: dict[str, tuple[type, Store]] = {}


def store_for(alias: str) -> Store:
    """Return the store on the cache ``alias``: in the way its backend does best."""
    found = _stores.get(alias)
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        # The checks say so too, but a server that serves requests runs no checks.
        if found is None or found[0] is not InvalidCacheBackendError:
            logger.error("Nothing is cached in %r: %s", alias, error)
            found = _stores[alias] = (InvalidCacheBackendError, _no_store(alias))
        return found[1]
    kind = type(getattr(cache, "client", cache))
    if found is None or found[0] is not kind:
        found = _stores[alias] = (kind, _class_for(cache)(alias))
    return found[1]


def _class_for(cache: BaseCache) -> Callable[[str], Store]:
    client: Any = getattr(cache, "client", None)
    if client is not None and type(client).__module__.startswith("django_redis."):
        from .redis import RedisStore  # noqa: PLC0415  # only where redis is installed

        if RedisStore.takes(client):
            return RedisStore
    if isinstance(cache, BaseDatabaseCache):
        alias = router.db_for_write(cache.cache_model_class) or DEFAULT_DB_ALIAS
        if connections[alias].vendor == "sqlite":
            return _no_store
    return Store


def _no_store(alias: str) -> Store:
    from .no_store import NoStore  # noqa: PLC0415  # a store itself

    return NoStore(alias)


def readable(value: str) -> bool:
    """Whether a tag's value is a token without marks: may be trusted, and stored under."""
    return bool(value) and "|" not in value


def same(entry: Mapping[str, str], values: Mapping[str, str], needed: Iterable[str]) -> bool:
    """Whether each tag still has the token that the entry was stored with, and no mark."""
    return all(readable(entry[tag]) and values.get(tag) == entry[tag] for tag in needed)
