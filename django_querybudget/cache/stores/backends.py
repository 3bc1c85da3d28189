"""Stores on Django's own caches, and on whatever has their interface.

Marks and tokens are read, changed and written under a lock of this process: between processes, a
writer can lose another's mark, which shortens a guarantee and breaks none that hangs on tokens
(``docs/explanation/caching.rst``).

Entries have the keys that the host's cache gives them. Tokens have keys of our own, whatever
``KEY_PREFIX``, ``VERSION`` and ``KEY_FUNCTION`` say: tables are shared by tenants and by releases,
and so is what is renewed when one of them writes.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeGuard

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connections, router
from django.utils.module_loading import import_string

from django_querybudget.cache import tags
from django_querybudget.cache.tokens import TagValue, is_known, new_token
from django_querybudget.conf import conf

from .access import CacheRefused, Read, ReadMany
from .pulse import LIFE, PULSE, beat_of
from .store import Store
from .tag_keys import TRANSIENT_TIMEOUT, tag_key
from .twins import OnlyWriters, twins_in

__all__ = ["BackendStore", "DatabaseStore", "ProcessStore"]

_PLAIN = "_querybudget_plain_keys"
_PROBE = "qb:probe"


def _plain_key(key: str, prefix: str, version: int) -> str:
    del prefix, version
    return key


class BackendStore(Store):
    """A cache that several processes share, through Django's interface."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._lock = threading.Lock()
        self._writers = OnlyWriters()

    @property
    def _plain(self) -> BaseCache:
        """This thread's client of the same cache that leaves keys as they are."""
        cache: Any = self.cache
        plain: BaseCache | None = getattr(cache, _PLAIN, None)
        if plain is None:
            options = dict(caches.settings[self.alias])
            backend = import_string(options.pop("BACKEND"))
            location = options.pop("LOCATION", "")
            options |= {"KEY_PREFIX": "", "VERSION": 1, "KEY_FUNCTION": _plain_key}
            plain = backend(location, options)
            setattr(cache, _PLAIN, plain)
            weakref.finalize(cache, plain.close)  # memcached's has connections of its own
        return plain

    # Tags and entries

    def _read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany:
        twins = twins_in(wanted)
        of_tags = {tag_key(tag): tag for tag in wanted if tag not in twins}
        own = [self.cache.make_key(key) for key in keys]
        found = self._found([*of_tags, *own])
        values = {tag: found[each] for each, tag in of_tags.items() if _is_text(found.get(each))}
        if twins and self.tells_writers_apart:
            values |= self._writers.values(twins)
        return ReadMany([found.get(each) for each in own], values)

    def _found(self, keys: list[str]) -> dict[str, Any]:
        """Return what stands under the keys; what cannot be read as a value is left out."""
        if not keys:
            return {}
        cache = self._plain
        try:
            return cache.get_many(keys)
        except Exception:
            # Another client may have written there in a way of its own (a pickle that is none).
            cache.get(_PROBE)  # if this fails too, it is the server
        found = {}
        for key in keys:
            try:
                value = cache.get(key)
            except Exception:  # noqa: S112  # a foreign value is a miss
                continue
            if value is not None:
                found[key] = value
        return found

    def _ensure(self, missing: Collection[str]) -> dict[str, str]:
        cache, fresh, twins = self._plain, new_token(), twins_in(missing)
        self._writers.take(twins)
        for tag in set(missing).difference(twins):
            cache.add(tag_key(tag), fresh, _token_timeout(tag))
        values = self._read(None, missing).values
        foreign = [tag for tag in missing if tag not in twins and not is_known(values.get(tag, ""))]
        for tag in foreign:
            cache.set(tag_key(tag), fresh, _token_timeout(tag))
        return values | self._read(None, foreign).values

    def _write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        own = self.cache.make_key(key)
        return own not in (self._plain.set_many({own: entry}, timeout) or ())

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        now = _milliseconds()
        deadline = now + int(timeout * 1000)
        self._replace(wanted, lambda value: value.marked(writer, now, deadline, new_token()))

    def _renew(self, wanted: Collection[str], writer: str, marked: bool = False) -> None:
        del marked  # these caches answer always
        fresh, now = new_token(), _milliseconds()
        self._replace(wanted, lambda value: value.renewed(writer, now, fresh))

    def _replace(self, wanted: Collection[str], changed: Callable[[TagValue], TagValue]) -> None:
        with self._lock:
            twins = twins_in(wanted)
            self._writers.take(twins)
            wanted = set(wanted).difference(twins)
            if not self.tells_writers_apart:  # nobody reads these then
                wanted = [tag for tag in wanted if not tags.is_of_lists(tag)]
            _, values = self._read(None, wanted)
            by_timeout: dict[float | None, dict[str, str]] = {}
            for tag in wanted:
                value = changed(TagValue.parse(values.get(tag, "")))
                # A second more: a mark must not outlive its key's own clock by rounding.
                left = (value.deadline - _milliseconds()) / 1000 if value.marks else None
                timeout = _token_timeout(tag) if left is None else max(1, int(left + 1))
                by_timeout.setdefault(timeout, {})[tag_key(tag)] = str(value)
            for timeout, items in by_timeout.items():
                if failed := self._plain.set_many(items, timeout):
                    raise CacheRefused(f"the cache did not take {sorted(map(str, failed))}")

    # The pulse

    def _beat(self, *, look: bool) -> str:
        del look  # nothing tells one server from another here
        with self._lock:  # in this process at least, one new pulse
            return self._refreshed()

    def _refreshed(self) -> str:
        key, now = tag_key(PULSE), _milliseconds()
        value = self._found([key]).get(key)
        beat = beat_of(value) if _is_text(value) else None
        rest = int(conf.CACHE.RECOVERY_TIME * 1000)
        if beat is None:
            return self._new_pulse(key, f"|{now + rest}" if rest else new_token())
        if not beat.token and beat.deadline <= now:
            return self._set_pulse(key, new_token())
        if beat.deadline > now + rest + 1000:
            return self._set_pulse(key, f"|{now + rest}")
        # touch() fails where the key is gone, so that an old pulse does not come back; but a
        # server that takes no values may allow it.
        self._set(tag_key("q:beat"), new_token())
        return value if _is_text(value) and self._plain.touch(key, LIFE) else ""

    def _new_pulse(self, key: str, token: str) -> str:
        if not self._plain.add(key, _pulse_text(token), LIFE):
            value = self._found([key]).get(key)
            if not _is_text(value) or beat_of(value) is None:
                return self._set_pulse(key, token)  # in place of what somebody else has put there
            return value
        return _pulse_text(token)

    def _set_pulse(self, key: str, token: str) -> str:
        self._set(key, _pulse_text(token))
        return _pulse_text(token)

    def _set(self, key: str, value: str) -> None:
        if self._plain.set_many({key: value}, LIFE):
            raise CacheRefused(f"the cache did not take {key}")

    def _close_own(self) -> None:
        if _is_keeper():
            with suppress(InvalidCacheBackendError):  # taken out of CACHES meanwhile
                self.cache.close()  # as Django does at the end of each request

    def _break_pulse(self) -> None:
        self._plain.delete(tag_key(PULSE))


class ProcessStore(BackendStore):
    """A cache that fails only with its process: it needs no pulse."""

    has_pulse = False
    is_shared = False
    tells_writers_apart = True  # all of them know what this process knows

    @staticmethod
    def takes(cache: BaseCache) -> bool:
        return isinstance(cache, LocMemCache | DummyCache)


class DatabaseStore(BackendStore):
    """Django's database cache, on the connection that the host's own code uses.

    No statement of ours may be part of a transaction of the host's: one that fails would abort it.
    So inside of one nothing is read and nothing marked; a mark there could not be seen by others.
    """

    has_pulse = False

    def read(self, key: str | None, wanted: Collection[str]) -> Read | None:
        return None if self._is_in_transaction() else super().read(key, wanted)

    def read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany | None:
        return None if self._is_in_transaction() else super().read_many(keys, wanted)

    def tokens(self, wanted: Collection[str]) -> dict[str, str] | None:
        return None if self._is_in_transaction() else super().tokens(wanted)

    def ensure(self, missing: Collection[str]) -> dict[str, str]:
        return {} if self._is_in_transaction() else super().ensure(missing)

    def write(
        self, key: str, entry: bytes, timeout: float | None, lease: tuple[str, str] | None = None
    ) -> bool:
        return not self._is_in_transaction() and super().write(key, entry, timeout, lease)

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        if not self._is_in_transaction():
            self._unless_no_table(super()._mark, wanted, writer, timeout)

    def _renew(self, wanted: Collection[str], writer: str, marked: bool = False) -> None:
        if self._is_in_transaction():
            raise CacheRefused("a transaction is open on the cache's database: renewed after it")
        self._unless_no_table(super()._renew, wanted, writer, marked)

    def _read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany:
        found = self._unless_no_table(super()._read_many, keys, wanted)
        return ReadMany([None for _ in keys], {}) if found is None else found

    def _unless_no_table(self, operation: Callable[..., Any], *arguments: object) -> Any:
        """Where the table is not there (not yet, in ``migrate``), nothing is in it to be stale."""
        try:
            return operation(*arguments)
        except ProgrammingError as error:
            self._log(
                "no table",
                "Nothing is cached in %r (%s). manage.py createcachetable makes its table.",
                self.alias, str(error).strip().partition("\n")[0],
            )  # fmt: skip
            return None

    def _is_in_transaction(self) -> bool:
        aliases = {
            router.db_for_write(self._model) or DEFAULT_DB_ALIAS,
            router.db_for_read(self._model) or DEFAULT_DB_ALIAS,
        }
        return any(_is_in_transaction(connections[alias]) for alias in aliases)

    @property
    def _model(self) -> Any:
        cache: Any = self.cache
        return cache.cache_model_class

    def _close_own(self) -> None:
        if _is_keeper():
            connections.close_all()


def _is_keeper() -> bool:
    """Whether this thread is a store's own: nobody else closes what it opens."""
    return threading.current_thread().name.startswith("querybudget-")


def _is_in_transaction(connection: Any) -> bool:
    """Whether a statement that fails now would take others of the host's along."""
    driver = connection.connection
    if connection.in_atomic_block or driver is None:
        return bool(connection.in_atomic_block)
    # A raw BEGIN: of the databases that do not go on after an error, PostgreSQL tells of it.
    told = getattr(driver, "pgconn", None) or getattr(driver, "info", None)
    status = getattr(told, "transaction_status", 0)
    return not connection.autocommit or int(status) not in (0, 4)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) < 100_000


def _pulse_text(token: str) -> str:
    return f"{token} 0 0 ? 0"


def _token_timeout(tag: str) -> float | None:
    return TRANSIENT_TIMEOUT if tags.is_transient(tag) else None


def _milliseconds() -> int:
    return int(time.time() * 1000)
