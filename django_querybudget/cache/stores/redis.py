"""Redis through django-redis: marks and tokens change in the server, in one step.

Values are written as they are, past the client's serializer: nothing under our keys is ever
unpickled, whatever serializer the cache is configured with. Everything is read from the primary.
Entries have the keys that the cache's ``KEY_FUNCTION`` makes; tokens have not, since tables are
shared by tenants and by releases.

Why a renewal is not waited for where the writer's mark stands
    Until the renewal arrives, readers find the mark, and trust nothing. So it is sent with
    ``CLIENT REPLY SKIP`` before it, and the writer goes on. If it is lost on its way, the mark's
    end takes the token with it, which is a miss. The mark itself is waited for, always.

Why an entry is not waited for
    It carries the tokens that it is valid under, so that it is right whenever it arrives; if it is
    lost, it is a miss. The server's answer is read with that to the next command.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Sequence
from typing import Any, cast
from weakref import WeakMethod

from django_redis.client import DefaultClient, ShardClient
from redis import connection
from redis.exceptions import ResponseError

from django_querybudget.cache import tags
from django_querybudget.cache.tokens import new_token
from django_querybudget.conf import conf

from .access import Lease, ReadMany
from .pulse import PULSE
from .resp import bulk_strings, packed
from .scripts import BEAT, CHANGE, ENSURE, LEASE
from .store import Store
from .tag_keys import TRANSIENT_TIMEOUT, prefixed, tag_key
from .twins import arranged, settled, twins_in, with_tables
from .wire import Wire

__all__ = ["RedisStore"]

_TRANSIENT = b"%d" % (TRANSIENT_TIMEOUT * 1000)

_OF_LEASE = 5  # how many arguments the lease's script has
DONE = 2.0
"""For how long a lease that was given back is remembered, in seconds: a reader that looked before
it takes the lease so much later at most."""


class RedisStore(Store):
    """A cache of django-redis with its default or Sentinel client."""

    reads_tokens_at_once = True  # by scripts, which nothing comes between
    tells_writers_apart = True
    has_rights = True

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._wire: Wire | None = None
        self._last = threading.local()

    @staticmethod
    def takes(client: object) -> bool:
        """Whether the client has one primary for all keys (a sharded client has not)."""
        return isinstance(client, DefaultClient) and not isinstance(client, ShardClient)

    @property
    def _client(self) -> Any:
        """django-redis' client of this thread: it knows the primary, and how keys are made."""
        return cast("Any", self.cache).client

    def _wire_of(self, client: Any) -> Wire:
        wire, pool = self._wire, client.get_client(write=True).connection_pool
        if wire is None or not wire.is_to(pool):
            opened = 0 if wire is None else wire.opened + 1
            # Weakly: what is in a circle is closed whenever it is found.
            wire = self._wire = Wire(pool, WeakMethod(self._refused), opened)
            self.keeps_beating = wire.has_own
        return wire

    # Tags and entries

    def _read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany:
        client = self._client
        wire = self._wire_of(client)
        if twins := twins_in(wanted):
            wanted = with_tables(wanted, twins)
        words = _bulk_keys(wanted)
        words += [bulk_strings(_encoded(client, key, wire.pool)) for key in keys]
        if not words:
            return ReadMany([], {})
        command = b"*%d\r\n$4\r\nMGET\r\n%b" % (len(words) + 1, b"".join(words))
        found = wire.ask(command)
        entries = found[len(wanted) :]
        del found[len(wanted) :]
        try:
            values = dict(zip(wanted, map(bytes.decode, found), strict=True))
        except (TypeError, UnicodeDecodeError):  # one is missing, or somebody else's
            values = {
                tag: value.decode("ascii", "replace")
                for tag, value in zip(wanted, found, strict=True)
                if value is not None
            }
        return ReadMany(entries, settled(values, twins) if twins else values)

    def _tokens(self, wanted: Collection[str]) -> dict[str, str]:
        return self._ensure(wanted)  # which leaves those that stand, in the same trip

    def _ensure(self, missing: Collection[str]) -> dict[str, str]:
        asked, kinds = arranged(missing, writes=False)
        arguments = b"%b%b%b" % (
            bulk_strings(b"%d" % len(asked)),
            b"".join(_bulk_keys(asked)),
            bulk_strings(new_token().encode(), kinds, _TRANSIENT),
        )
        *values, evicted = self._wire_of(self._client).run(ENSURE, arguments, len(asked) + 4)
        beat = self._pulse[1]
        if evicted and beat is not None and beat.token and evicted.decode() != beat.evicted:
            self._evicts()  # since the pulse was refreshed: the tag may have been there, marked
        found = {
            tag: value.decode("ascii", "replace") for tag, value in zip(asked, values, strict=True)
        }
        return settled(found, twins_in(missing))

    def _write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        self._wire_of(self._client).tell(self._setting(key, entry, timeout))
        return True  # or _refused() is told

    def _write_last(
        self, key: str, entry: bytes, timeout: float | None, lease: str, who: str
    ) -> bool:
        # In one message: on another connection the lease might be given back first, and whoever
        # took it then would not find the answer.
        wire, command = self._wire_of(self._client), self._setting(key, entry, timeout)
        release = wire.unheard(LEASE, self._leased(b"drop", lease, who, DONE), _OF_LEASE)
        if release:
            wire.tell(command + release)
        else:
            wire.ask(command)
            self._drop(lease, who)
        return True

    def _setting(self, key: str, entry: bytes, timeout: float | None) -> bytes:
        client = self._client
        words = [b"SET", _encoded(client, key, self._wire_of(client).pool), entry]
        if timeout is not None:
            words += [b"PX", b"%d" % max(1, int(timeout * 1000))]
        return packed(*words)

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        call = _ScriptCall(wanted, writer, max(1, int(timeout * 1000)))
        self._last.call = call  # for the renewal, which mostly is of the same
        self._change_tags(call, b"mark", silent=False)

    def _renew(self, wanted: Collection[str], writer: str, marked: bool = False) -> None:
        call: _ScriptCall | None = getattr(self._last, "call", None)
        if call is None or call.writer != writer or call.wanted != wanted:
            call = _ScriptCall(wanted, writer, 0)
        self._change_tags(call, b"renew", silent=marked)

    def _change_tags(self, call: _ScriptCall, what: bytes, *, silent: bool) -> None:
        """Run the script. ``silent``: its answer need not be waited for."""
        wire = self._wire_of(self._client)
        wire.run(CHANGE, call.arguments(what), call.count, silent=silent)

    # Leases

    def _take(self, key: str, who: str, seconds: float) -> Lease:
        return Lease(self._lease(b"take", key, who, seconds))

    def _drop(self, key: str, who: str) -> None:
        self._lease(b"drop", key, who, DONE, silent=True)  # who waits for it looks again

    def _lease(
        self, what: bytes, key: str, who: str, seconds: float, *, silent: bool = False
    ) -> Any:
        arguments = self._leased(what, key, who, seconds)
        return self._wire_of(self._client).run(LEASE, arguments, _OF_LEASE, silent=silent)

    def _leased(self, what: bytes, key: str, who: str, seconds: float) -> bytes:
        """Return the packed arguments of the lease's script."""
        client = self._client
        own = _encoded(client, key, self._wire_of(client).pool)
        return bulk_strings(b"1", own, what, who.encode(), b"%d" % (seconds * 1000))

    # The pulse

    def _beat(self, *, look: bool) -> str:
        rest = b"%d" % int(conf.CACHE.RECOVERY_TIME * 1000)
        arguments = bulk_strings(
            b"1", tag_key(PULSE).encode(), new_token().encode(), rest, b"1" if look else b"0"
        )
        value = self._wire_of(self._client).run(BEAT, arguments, 5)
        return cast("bytes", value).decode("ascii", "replace")

    def _break_pulse(self) -> None:
        self._wire_of(self._client).ask(packed(b"DEL", tag_key(PULSE).encode()))

    # For the checks

    @property
    def pool(self) -> Any:
        """The pool of the client's connections to the primary."""
        return self._client.get_client(write=True).connection_pool

    @property
    def default_limit(self) -> float | None:
        """How long redis-py waits where nobody says, in seconds; None: for ever."""
        return getattr(connection, "DEFAULT_SOCKET_TIMEOUT", None)

    def try_scripts(self) -> None:
        """Run a script that writes. Raises what redis-py raises."""
        self._beat(look=True)

    def eviction_policy(self) -> str:
        """Return the server's ``maxmemory_policy``; ``?`` where its user may not ask."""
        try:
            told = self._wire_of(self._client).ask(packed(b"INFO", b"memory"))
        except ResponseError:
            return "?"
        found = re.search(rb"maxmemory_policy:([a-z-]+)", told)
        return found[1].decode() if found else ""

    def _opened(self) -> int:
        return self._wire.opened if self._wire is not None else 0

    def _is_refusal(self, error: Exception) -> bool:
        return isinstance(error, ResponseError) or super()._is_refusal(error)


class _ScriptCall:
    """What the calls of the script by one writer on the same tags have in common.

    ``mark`` is in milliseconds.
    """

    __slots__ = ("_head", "_tail", "count", "wanted", "writer")

    def __init__(self, wanted: Collection[str], writer: str, mark: int) -> None:
        self.wanted, self.writer = wanted, writer
        keys, kinds = arranged(wanted, writes=True)
        self.count = len(keys) + 7
        self._head = bulk_strings(b"%d" % len(keys)) + b"".join(_bulk_keys(keys))
        self._tail = bulk_strings(writer.encode(), b"%d" % mark, kinds, _TRANSIENT)

    def arguments(self, what: bytes) -> bytes:
        """Return the packed arguments of the call that does ``what``, with a token of now."""
        return b"%b%b%b" % (self._head, bulk_strings(what, new_token().encode()), self._tail)


@tags.remembered
def _bulk_key(prefix: str, tag: str) -> bytes:
    return bulk_strings(prefixed(prefix, tag).encode())


def _bulk_keys(wanted: Collection[str]) -> list[bytes]:
    prefix = conf.CACHE.TOKEN_PREFIX  # once: reading a setting takes as long as all the rest
    return [_bulk_key(prefix, tag) for tag in wanted]


def _encoded(client: Any, key: str, pool: Any) -> bytes:
    """Return the key of an entry as the client encodes it."""
    options = pool.connection_kwargs
    made = str(client.make_key(key))
    return made.encode(options.get("encoding", "utf-8"), options.get("encoding_errors", "strict"))
