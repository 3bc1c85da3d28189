"""Redis through django-redis: marks and tokens change in the server, in one step.

Values are written as they are, past the client's serializer: nothing under our keys is ever
unpickled, whatever serializer the cache is configured with. Everything is read from the primary.

Why a renewal is not waited for where the writer's mark stands
    Until the renewal arrives, readers find the mark, and trust nothing. So it is sent with
    ``CLIENT REPLY SKIP`` before it, and the writer goes on. If it is lost on its way, the mark's
    end takes the token with it, which is a miss. The mark itself is waited for, always.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha1
from inspect import signature
from typing import Any, cast

from django_redis.client import DefaultClient, ShardClient
from redis.connection import ConnectionPool
from redis.exceptions import NoScriptError, ResponseError

from . import tags
from .store import TRANSIENT_TIMEOUT, Store, tag_key
from .tokens import new_token

__all__ = ["RedisStore"]

_TRANSIENT = b"%d" % (TRANSIENT_TIMEOUT * 1000)

# The same changes as in tokens.TagValue. ARGV: what to do, the writer, a fresh token, the mark's
# milliseconds, for each key whether its token stays for ever ("1") or not ("0"), and for how many
# milliseconds those stay that do not.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, writer, fresh = ARGV[1], ARGV[2], ARGV[3]
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
        self._server: _Server | None = None

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
        self._run(wanted, "mark", writer, max(1, int(timeout * 1000)))

    def _renew(self, wanted: Collection[str], writer: str, *, marked: bool = False) -> None:
        self._run(wanted, "renew", writer, 0, silent=marked)

    def _run(
        self, wanted: Collection[str], what: str, writer: str, mark: int, *, silent: bool = False
    ) -> None:
        """Run the script; ``mark`` is in milliseconds. ``silent``: where that can be, read no
        answer.
        """
        client = self._client
        primary = client.get_client(write=True)
        pool = primary.connection_pool
        server = self._server
        if server is None or server.pool is not pool or server.process != os.getpid():
            server = self._server = _Server.behind(pool)
        # As the client encodes them, or what is marked is not what is read.
        keys = [server.encode(client.make_key(tag_key(tag))) for tag in wanted]
        call = (
            *(b"%d" % len(keys), *keys, what.encode(), writer.encode(), new_token().encode()),
            *(b"%d" % mark, _lasting(wanted), _TRANSIENT),
        )
        silent = silent and server.keeps_silent
        command = packed(b"EVALSHA", _SCRIPT_SHA, *call)
        connection = pool.get_connection(*_BORROWING)
        try:
            connection.send_packed_command([_SKIP + command if silent else command])
            if not silent:
                connection.read_response()
        except NoScriptError:
            is_known = False
        except BaseException:
            connection.disconnect()  # an answer may be under way, which is not the next one's
            raise
        else:
            is_known = True
        finally:
            pool.release(connection)
        if not is_known:
            primary.eval(_SCRIPT, *call)  # takes a connection: there may be no other one


@dataclass(frozen=True, slots=True)
class _Server:
    """What is known of the server behind a pool."""

    pool: ConnectionPool
    process: int
    encode: Callable[[str], bytes]
    keeps_silent: bool

    @classmethod
    def behind(cls, pool: ConnectionPool) -> _Server:
        return cls(pool, os.getpid(), pool.get_encoder().encode, _keeps_silent(pool))


def _keys(client: Any, wanted: Collection[str]) -> list[str]:
    return [client.make_key(tag_key(tag)) for tag in wanted]


def _lasting(wanted: Collection[str]) -> bytes:
    """Return for each tag ``1`` if its token stays for ever, ``0`` if not."""
    return b"".join([b"0" if tags.is_transient(tag) else b"1" for tag in wanted])


def _keeps_silent(pool: Any) -> bool:
    """Ask the server once whether ``CLIENT REPLY SKIP`` takes an answer away.

    A proxy, or a user without the right to it, may refuse: the refusal would be read as the next
    command's answer.
    """
    connection = pool.get_connection(*_BORROWING)
    try:
        connection.send_packed_command([_SKIP + packed(b"ECHO", b"skipped") + packed(b"ECHO", b"said")])
        return connection.read_response() in (b"said", "said")
    except ResponseError:
        return False
    finally:
        # Whatever else it has to say is not for the next who takes the connection.
        connection.disconnect()
        pool.release(connection)


def packed(*arguments: bytes) -> bytes:
    """Return a command as Redis reads it (RESP, an array of bulk strings).

    ``Connection.pack_command()`` takes ten times as long, which is half of a round trip.
    """
    parts = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"*%d\r\n%b" % (len(arguments), b"".join(parts))


_SKIP = packed(b"CLIENT", b"REPLY", b"SKIP")
# What redis-py before 5.3 wants to know of who borrows a connection.
_COMMAND = signature(ConnectionPool.get_connection).parameters.get("command_name")
_BORROWING = ("EVALSHA",) if _COMMAND is not None and _COMMAND.default is _COMMAND.empty else ()
