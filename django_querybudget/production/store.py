"""Where records are kept: one of the host's caches, by minute for two hours, by hour for two weeks.

Each process holds a *slot*, a small number that it leases, and writes its own value of each
interval under that number. So nothing is read and changed by two at once, a write that is repeated
changes nothing, and there are never more values than slots and intervals, however often processes
are started anew: a slot's next holder adds to what its last one wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.core.cache import caches

from .encoding import FORMAT

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

__all__ = ["HOUR", "MINUTE", "MOST_SLOTS", "RecordStore", "Span", "store_on"]

MOST_SLOTS = 128
"""So many processes at a time have a place in the record."""
LEASE = 60
"""How long a slot belongs to a process that says nothing, in seconds."""
_PREFIX = f"querybudget-record:{FORMAT}:"


class Span(NamedTuple):
    """A length of intervals, and how long they are kept."""

    letter: str
    seconds: int
    kept: int
    """In seconds."""

    def key(self, number: int, slot: int) -> str:
        """Return the key of the interval ``number`` of ``slot``'s holder."""
        return f"{_PREFIX}{self.letter}{number}:{slot}"

    def block_key(self, number: int, length: int) -> str:
        """Return the key of so many intervals of all processes, from ``number`` on."""
        return f"{_PREFIX}{self.letter}{number}+{length}"


MINUTE = Span("m", 60, 2 * 60 * 60)
HOUR = Span("h", 60 * 60, 14 * 24 * 60 * 60)


class RecordStore:
    """Any Django cache; all values are bytes. Each method raises what the cache raises."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def _cache(self) -> BaseCache:
        return caches[self.alias]

    def read(self, keys: Iterable[str]) -> Mapping[str, Any]:
        """Return the values of those keys that are there."""
        return self._cache.get_many(list(keys))

    def _add(self, key: str, value: bytes, seconds: int) -> bool:
        return self._cache.add(key, value, seconds)

    def _set(self, key: str, value: bytes, seconds: int) -> None:
        self._cache.set(key, value, seconds)

    def claim(self, who: bytes) -> int | None:
        """Return a slot that is now ``who``'s; None if all are taken."""
        taken = self.read([_slot_key(slot) for slot in range(MOST_SLOTS)])
        for slot in range(MOST_SLOTS):
            key = _slot_key(slot)
            if key not in taken and self._add(key, who, LEASE):
                self._count_to(slot + 1)
                return slot
        return None

    def _count_to(self, number: int) -> None:
        """Let readers look at so many slots at least.

        Who starts at the same time may have counted further, before this count comes in its place.
        So whoever has put one looks afterwards which slots are held.
        """
        while self._slots() < number:
            self._set(_SLOTS_KEY, b"%d" % number, HOUR.kept)
            held = self.read([_slot_key(slot) for slot in range(MOST_SLOTS)])
            highest = max((s for s in range(MOST_SLOTS) if _slot_key(s) in held), default=-1)
            if highest < number:
                return  # also where the cache keeps nothing
            number = highest + 1

    def write(self, values: list[tuple[str, bytes, int]], slot: int, who: bytes) -> bool:
        """Set keys to values for so many seconds, and extend the lease; whether it was ``who``'s.

        A slot that nobody holds, in a cache that was emptied, is ``who``'s again.
        """
        own = _slot_key(slot)
        if self.read([own]).get(own, who) != who:
            return False
        for key, value, seconds in values:
            self._set(key, value, seconds)
        self._set(own, who, LEASE)
        return True

    def keep(self, values: list[tuple[str, bytes, int]]) -> None:
        """Set keys to values for so many seconds."""
        for key, value, seconds in values:
            self._set(key, value, seconds)

    def keys_of(self, span: Span, numbers: Iterable[int]) -> list[str]:
        """Return the keys of all processes for these intervals."""
        slots = range(self._slots() or MOST_SLOTS)
        return [span.key(number, slot) for number in numbers for slot in slots]

    def _slots(self) -> int:
        """Return how many slots were ever held; 0 if that is not known."""
        told = self.read([_SLOTS_KEY]).get(_SLOTS_KEY)
        if not isinstance(told, bytes) or not told.isdigit() or len(told) > 3:
            return 0
        return min(int(told), MOST_SLOTS)


class RedisRecordStore(RecordStore):
    """django-redis: a flush is one pipelined call, and values go past the client's serializer."""

    @property
    def _client(self) -> Any:
        return cast("Any", self._cache).client

    @property
    def _redis(self) -> Any:
        return self._client.get_client(write=True)

    def _made(self, key: str) -> str:
        return str(self._client.make_key(key))

    def read(self, keys: Iterable[str]) -> Mapping[str, Any]:
        wanted = list(keys)
        found = self._redis.mget(map(self._made, wanted)) if wanted else []
        values = zip(wanted, found, strict=True)
        return {key: value for key, value in values if value is not None}

    def _add(self, key: str, value: bytes, seconds: int) -> bool:
        return bool(self._redis.set(self._made(key), value, ex=seconds, nx=True))

    def _set(self, key: str, value: bytes, seconds: int) -> None:
        self._redis.set(self._made(key), value, ex=seconds)

    def keep(self, values: list[tuple[str, bytes, int]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key, value, seconds in values:
            pipeline.set(self._made(key), value, ex=seconds)
        pipeline.execute()

    def write(self, values: list[tuple[str, bytes, int]], slot: int, who: bytes) -> bool:
        own = self._made(_slot_key(slot))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(own)
        for key, value, seconds in values:
            pipeline.set(self._made(key), value, ex=seconds)
        pipeline.set(own, who, ex=LEASE, nx=True)
        pipeline.expire(own, LEASE)
        # If it is another's, that one's next flush puts right what was written.
        return pipeline.execute()[0] in (None, who)


_SLOTS_KEY = f"{_PREFIX}slots"


def _slot_key(slot: int) -> str:
    return f"{_PREFIX}slot:{slot}"


def store_on(alias: str) -> RecordStore:
    """Return the store on the cache ``alias``. Raises what Django does for an unknown one."""
    client: Any = getattr(caches[alias], "client", None)
    if client is not None and type(client).__module__.startswith("django_redis."):
        from django_redis.client import DefaultClient, ShardClient  # only where it is installed

        if isinstance(client, DefaultClient) and not isinstance(client, ShardClient):
            return RedisRecordStore(alias)
    return RecordStore(alias)
