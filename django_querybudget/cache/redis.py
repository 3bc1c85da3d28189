"""Redis through django-redis: marks and tokens change in the server, in one step.

Values are written as they are, past the client's serializer: nothing under our keys is ever
unpickled, whatever serializer the cache is configured with. Everything is read from the primary.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from .store import Store, tag_key
from .tokens import new_token

__all__ = ["RedisStore"]

# The same changes as in tokens.TagValue. ARGV: what to do, the writer, a fresh token, the mark's
# milliseconds, then a timeout (milliseconds, 0: none) for each key.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local what, writer, fresh = ARGV[1], ARGV[2], ARGV[3]
for i, key in ipairs(KEYS) do
  local value = redis.call('GET', key) or ''
  local token, marks = string.match(value, '^([^|]*)|?(.*)$')
  local kept, lost, last = {}, false, 0
  for name, deadline in string.gmatch(marks, '([^@,]+)@(%d+)') do
    if name ~= writer then
      if tonumber(deadline) > now then
        table.insert(kept, name .. '@' .. deadline)
        last = math.max(last, tonumber(deadline))
      else
        lost = true
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
  local timeout = tonumber(ARGV[4 + i])
  if #kept > 0 then
    redis.call('SET', key, token .. '|' .. table.concat(kept, ','), 'PX', last - now)
  elseif timeout > 0 then
    redis.call('SET', key, token, 'PX', timeout)
  else
    redis.call('SET', key, token)
  end
end
"""

_ENSURE = """
local values = {}
for i, key in ipairs(KEYS) do
  local timeout = tonumber(ARGV[1 + i])
  if timeout > 0 then
    redis.call('SET', key, ARGV[1], 'NX', 'PX', timeout)
  else
    redis.call('SET', key, ARGV[1], 'NX')
  end
  values[i] = redis.call('GET', key)
end
return values
"""


class RedisStore(Store):
    """A cache of django-redis with its default or Sentinel client."""

    @staticmethod
    def takes(client: Any) -> bool:
        """Whether the client has one primary for all keys (a sharded client has not)."""
        from django_redis.client import DefaultClient, ShardClient  # noqa: PLC0415

        return isinstance(client, DefaultClient) and not isinstance(client, ShardClient)

    def _primary(self) -> Any:
        return cast("Any", self.cache).client.get_client(write=True)

    def _key(self, key: str) -> str:
        return str(cast("Any", self.cache).client.make_key(key))

    def _keys(self, wanted: Collection[str]) -> list[str]:
        return [self._key(tag_key(tag)) for tag in wanted]

    def _read(
        self, key: str | None, wanted: Collection[str]
    ) -> tuple[bytes | None, dict[str, str]]:
        keys = self._keys(wanted)
        if key:
            keys.append(self._key(key))
        if not keys:
            return None, {}
        found = self._primary().mget(keys)
        entry = found.pop() if key else None
        return entry, {
            tag: value.decode("ascii", "replace")
            for tag, value in zip(wanted, found, strict=True)
            if value is not None
        }

    def _ensure(self, missing: Collection[str]) -> dict[str, str]:
        wanted = list(missing)
        found = self._run(_ENSURE, wanted, new_token())
        return {
            tag: value.decode("ascii", "replace") for tag, value in zip(wanted, found, strict=True)
        }

    def _write(self, key: str, entry: bytes, timeout: float | None) -> bool:
        milliseconds = None if timeout is None else max(1, int(timeout * 1000))
        return bool(self._primary().set(self._key(key), entry, px=milliseconds))

    def _mark(self, wanted: Collection[str], writer: str, timeout: float) -> None:
        self._run(_SCRIPT, wanted, "mark", writer, new_token(), max(1, int(timeout * 1000)))

    def _renew(self, wanted: Collection[str], writer: str) -> None:
        self._run(_SCRIPT, wanted, "renew", writer, new_token(), 0)

    def _run(self, script: str, wanted: Collection[str], *arguments: object) -> Any:
        client = self._primary()
        timeouts = [int((self._token_timeout(tag) or 0) * 1000) for tag in wanted]
        return client.register_script(script)(
            keys=self._keys(wanted), args=[*arguments, *timeouts], client=client
        )
