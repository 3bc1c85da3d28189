"""Redis through django-redis: marks and tokens change in the server, in one step.

Values are written as they are, past the client's serializer: nothing under our keys is ever
unpickled, whatever serializer the cache is configured with. Everything is read from the primary.

Why a renewal is not waited for where the writer's mark stands
    Until the renewal arrives, readers find the mark, and trust nothing. So it is sent with
    ``CLIENT REPLY SKIP`` before it, and the writer goes on. If it is lost on its way, the mark's
    end takes the token with it, which is a miss. The mark itself is waited for, always.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from hashlib import sha1
from typing import Any, cast

from django_redis.client import DefaultClient, ShardClient
from redis.exceptions import NoScriptError

from django_querybudget.cache import tags
from django_querybudget.cache.tokens import new_token

from .store import TRANSIENT_TIMEOUT, Store, tag_key
from .wire import Wire, bulk_strings

__all__ = ["RedisStore"]

_TRANSIENT = b"%d" % (TRANSIENT_TIMEOUT * 1000)

# The same changes as in tokens.TagValue. ARGV: what to do, a fresh token, the writer, the mark's
# milliseconds, for each key whether its token stays for ever ("1") or not ("0"), and for how many
# milliseconds those stay that do not.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, fresh, writer = ARGV[1], ARGV[2], ARGV[3]
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key) or ''
  local token, marks = value, string.find(value, '|', 1, true)
  local kept, lost, last = {}, false, 0
  if marks then
    token = string.sub(value, 1, marks - 1)
    for name, deadline in string.gmatch(string.sub(value, marks + 1), '([^@,]+)@(%d+)') do
      if name ~= writer then
        if tonumber(deadline) > now then
          table.insert(kept, name .. '@' .. deadline)
          last = math.max(last, tonumber(deadline))
        else
          lost = true
        end
      end
    end
  end
  if what == 'renew' or lost then
    token = fresh
  end
  if what == 'mark' then
    local deadline = string.format('%d', now + tonumber(ARGV[4]))
    table.insert(kept, writer .. '@' .. deadline)
    last = math.max(last, tonumber(deadline))
  end
  if #kept > 0 then
    redis.call('SET', key, token .. '|' .. table.concat(kept, ','), 'PX', last - now)
  elseif string.byte(ARGV[5], i) == 48 then
    redis.call('SET', key, token, 'PX', ARGV[6])
  else
    redis.call('SET', key, token)
  end
end
"""

_SCRIPT_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest().encode()  # its name

_ENSURE = """
local values = {}
for i, key in ipairs(KEYS) do
  if string.byte(ARGV[2], i) == 48 then
    redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[3])
  else
    redis.call('SET', key, ARGV[1], 'NX')
  end
  values[i] = redis.call('GET', key)
end
return values
"""


class RedisStore(Store):
    """A cache of django-redis with its default or Sentinel client."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._wire: Wire | None = None
        self._last = threading.local()

    @staticmethod
    def takes(client: Any) -> bool:
        """Whether the client has one primary for all keys (a sharded client has not)."""
        return isinstance(client, DefaultClient) and not isinstance(client, ShardClient)

    @property
    def _client(self) -> Any:
        """django-redis' client of this thread: it knows the primary, and how keys are made."""
        return cast("Any", self.cache).client

    def _read(
        self, key: str | None, wanted: Collection[str]
    ) -> tuple[bytes | None, dict[str, str]]:
        client = self._client
        keys = _keys(client, wanted)
        if key:
            keys.append(client.make_key(key))
        if not keys:
            return None, {}
        found = client.get_client(write=True).mget(keys)
        entry = found.pop() if key else None
        return entry, {
            tag: value.decode("ascii", "replace")
            for tag, value in zip(wanted, found, strict=True)
            if value is not None
        }

    def _ensure(self, missing: Collection[str]) -> dict[str, str]:
        client = self._client
        keys = _keys(client, missing)
        found = client.get_client(write=True).eval(
            _ENSURE, len(keys), *keys, new_token(), _lasting(missing), _TRANSIENT
        )
        return {
            tag: value.decode("ascii", "replace") for tag, value in zip(missing, found, strict=True)
        }

    def _write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        client = self._client
        milliseconds = None if timeout is None else max(1, int(timeout * 1000))
        primary = client.get_client(write=True)
        return bool(primary.set(client.make_key(key), entry, px=milliseconds))

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        call = _Call(self._client, wanted, writer, max(1, int(timeout * 1000)))
        self._last.call = call  # for the renewal, which mostly is of the same
        self._send(call, b"mark", silent=False)

    def _renew(self, wanted: Collection[str], writer: str, marked: bool = False) -> None:
        call: _Call | None = getattr(self._last, "call", None)
        if call is None or call.writer != writer or call.wanted != wanted:
            call = _Call(self._client, wanted, writer, 0)
        self._send(call, b"renew", silent=marked)

    def _send(self, call: _Call, what: bytes, *, silent: bool) -> None:
        """Run the script. ``silent``: its answer need not be waited for."""
        wire = self._wire
        pool = call.primary.connection_pool
        if wire is None or not wire.is_to(pool):
            wire = self._wire = Wire(pool)
        try:
            wire.send(call.command(what), silent=silent)
        except NoScriptError:
            call.primary.script_load(_SCRIPT)
            wire.send(call.command(what))


class _Call:
    """What the calls of the script by one writer on the same tags have in common.

    ``mark`` is in milliseconds.
    """

    __slots__ = ("_head", "_tail", "primary", "wanted", "writer")

    def __init__(self, client: Any, wanted: Collection[str], writer: str, mark: int) -> None:
        self.wanted, self.writer = wanted, writer
        self.primary = primary = client.get_client(write=True)
        options = primary.connection_pool.connection_kwargs
        encoding = options.get("encoding", "utf-8"), options.get("encoding_errors", "strict")
        # As the client encodes them, or what is marked is not what is read.
        keys = [key.encode(*encoding) for key in _keys(client, wanted)]
        self._head = b"*%d\r\n%b" % (
            len(keys) + 9,
            bulk_strings(b"EVALSHA", _SCRIPT_SHA, b"%d" % len(keys), *keys),
        )
        self._tail = bulk_strings(writer.encode(), b"%d" % mark, _lasting(wanted), _TRANSIENT)

    def command(self, what: bytes) -> bytes:
        """Return the command that does ``what``, with a token of now."""
        return b"%b%b%b" % (self._head, bulk_strings(what, new_token().encode()), self._tail)


def _keys(client: Any, wanted: Collection[str]) -> list[str]:
    return [client.make_key(tag_key(tag)) for tag in wanted]


def _lasting(wanted: Collection[str]) -> bytes:
    """Return for each tag ``1`` if its token stays for ever, ``0`` if not."""
    return b"".join([b"0" if tags.is_transient(tag) else b"1" for tag in wanted])
