"""How one of Django's caches is read and written: what each kind of store has to say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextvars import ContextVar
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.cache import caches

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

__all__ = [
    "CacheAccess",
    "CacheRefused",
    "Lease",
    "Read",
    "ReadMany",
    "busy",
    "client_class",
    "is_busy",
]

busy: ContextVar[bool] = ContextVar("querybudget_cache_busy", default=False)
"""Set while a cache is asked."""

is_busy = busy.get
"""Whether the statement that runs now is a cache's own (Django's database cache)."""


def client_class(cache: BaseCache) -> type:
    """Return what decides how a cache is spoken to: its client's class, or its own."""
    return type(getattr(cache, "client", cache))


class CacheRefused(Exception):
    """A cache did not take a value, and said so by its return value alone."""


class Lease(IntEnum):
    """What comes of asking for a lease; true where it was taken."""

    HELD = 0
    """Another has it."""
    TAKEN = 1
    """Nobody had it of late."""
    TAKEN_AFTER_ANOTHER = 2
    """Another may have had it a moment ago, and have stored what is asked for."""


class Read(NamedTuple):
    """What was read at once."""

    entry: Any
    """What stands under the key; None if nothing does, or no key was asked for."""
    values: dict[str, str]
    """Those of the tags that have one."""


class ReadMany(NamedTuple):
    """What was read at once, of several keys."""

    entries: list[Any]
    """What stands under each key, in their order."""
    values: dict[str, str]
    """As those of :class:`Read`."""


class CacheAccess:
    """Reads and writes entries by key, and tags with their values.

    Each method raises what its cache raises.
    """

    has_pulse = True
    """Whether the cache can fail while this process and the database do not."""

    is_shared = True
    """Whether other processes may have the cache, too."""

    has_rights = False
    """Whether its server has users with rights, limits and a policy of its own, as Redis has:
    ``check --deploy`` asks for them then, by what :class:`~.redis.RedisStore` has for the checks.
    """

    keeps_beating = True
    """Whether a thread may refresh the pulse, or requests have to."""

    chosen_for: type | None = None
    """The :func:`client_class` of the cache that ``store_for()`` chose this store for."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def cache(self) -> BaseCache:
        """This thread's client."""
        return caches[self.alias]

    def _read(self, key: str | None, wanted: Collection[str]) -> Read:
        entries, values = self._read_many((key,) if key else (), wanted)
        return Read(entries[0] if entries else None, values)

    def _read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany:
        raise NotImplementedError

    def _ensure(self, missing: Collection[str]) -> dict[str, str]:
        raise NotImplementedError

    def _write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        raise NotImplementedError

    def _write_last(
        self, key: str, entry: bytes, timeout: float | None, lease: str, who: str
    ) -> bool:
        """Store an entry, and give a lease back: not before the entry stands there."""
        taken = self._write(key, entry, timeout)
        self._drop(lease, who)
        return taken

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        raise NotImplementedError

    def _renew(self, wanted: Collection[str], writer: str, marked: bool = False) -> None:
        raise NotImplementedError

    def _take(self, key: str, who: str, seconds: float) -> Lease:
        """Take a lease, whole seconds."""
        taken = self.cache.add(key, who, max(1, round(seconds)))
        return Lease.TAKEN_AFTER_ANOTHER if taken else Lease.HELD

    def _drop(self, key: str, who: str) -> None:
        """Give a lease back, if ``who`` has it still."""
        if self.cache.get(key) == who:
            self.cache.delete(key)

    def _beat(self, *, look: bool) -> str:
        """Refresh the pulse, or make a new one; return its value.

        ``look`` at whether the server is the same, even if somebody refreshed it a moment ago.
        """
        raise NotImplementedError

    def _break_pulse(self) -> None:
        """Take the pulse away. Commands that only take away are often not refused."""
        raise NotImplementedError

    def _opened(self) -> int:
        """Return how often a connection was opened: there may be another server behind it."""
        return 0

    def _is_refusal(self, error: Exception) -> bool:
        """Whether the server has answered, and refused."""
        return isinstance(error, CacheRefused)

    def _close_own(self) -> None:
        """Close what the keeper's thread has opened and must not keep."""
