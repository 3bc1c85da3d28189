"""What runs inside of the Redis server: each change of a tag in one step.

The same changes as in :class:`~django_querybudget.cache.tokens.TagValue`, which says what a value
is. Whatever somebody else has put under a key of ours is missing, and is replaced.
"""

from __future__ import annotations

from hashlib import sha1

from .pulse import EVICTING, LIFE

__all__ = ["BEAT", "CHANGE", "ENSURE", "LEASE", "Script"]


class Script:
    """A script, and the name that the server gives it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = sha1(self.text, usedforsecurity=False).hexdigest().encode()


# ``parse`` returns the token, the marks of others that hold, when the last of them is over, and
# whether one was lost. A day is the longest that a mark may hold: one beyond it is nobody's.
_COMMON = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function get(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or ''
end
local function is_token(text)
  return #text < 40 and string.match(text, '^%d+%-%x+$') ~= nil
end
local function parse(value, writer)
  local token, marks = value, string.find(value, '|', 1, true)
  local kept, lost, last = {}, false, 0
  if marks then
    token = string.sub(value, 1, marks - 1)
    for name, deadline in string.gmatch(string.sub(value, marks + 1), '([^@,]+)@(%d+)') do
      if name ~= writer then
        local over = tonumber(deadline)
        if over > now and over - now <= 86400000 then
          table.insert(kept, name .. '@' .. deadline)
          last = math.max(last, over)
        else
          lost = true
        end
      end
    end
  end
  return is_token(token) and token or '', kept, last, lost
end
local function evicted()
  local info = redis.pcall('INFO', 'stats')
  return type(info) == 'string' and string.match(info, 'evicted_keys:(%d+)') or '?'
end
"""

# ARGV: what to do, a fresh token, the writer, the mark's milliseconds, for each key its kind (see
# twins.py), and for how many milliseconds tokens stay that do not stay for ever.
# A token that does not stay and is missing need not be renewed: no entry is valid without it.
CHANGE = Script(
    _COMMON
    + """
local what, fresh, writer = ARGV[1], ARGV[2], ARGV[3]
local before, twin, differ
local function change(key, value, stays, any)
  -- What is renewed for a twin may have the writer's own mark, of a statement before.
  local token, kept, last, lost = parse(value, any and '' or writer)
  if what == 'renew' and token == '' and #kept == 0 and not stays then
    redis.call('DEL', key)
  else
    if what == 'renew' or lost or any then
      token = fresh
    end
    if what == 'mark' and not any then
      local deadline = string.format('%d', now + tonumber(ARGV[4]))
      table.insert(kept, writer .. '@' .. deadline)
      last = math.max(last, tonumber(deadline))
    end
    if #kept > 0 then
      redis.call('SET', key, token .. '|' .. table.concat(kept, ','), 'PX', last - now)
    elseif not stays then
      redis.call('SET', key, token, 'PX', ARGV[6])
    else
      redis.call('SET', key, token)
    end
  end
end
for i, key in ipairs(KEYS) do
  local kind = string.char(string.byte(ARGV[5], i))
  if kind == '2' then
    local value = get(key)
    twin = value ~= ''
    differ = twin and value ~= before
    if twin then
      change(key, value, false)
    end
  elseif kind == '3' then
    if differ then
      change(key, get(key), false, true)
    end
  elseif kind ~= '4' or twin then
    before = get(key)
    change(key, before, kind == '1')
  end
end
"""
)

# ARGV: a fresh token, the kinds of the keys, for how many milliseconds tokens stay that do not for
# ever. Returns the values that stand, and how many keys were evicted if one was missing: it may
# have been. A twin that is not its table's tag is made so, unless a writer is in flight.
ENSURE = Script(
    _COMMON
    + """
local values, count = {}, ''
local before, paired
for i, key in ipairs(KEYS) do
  local kind = string.char(string.byte(ARGV[2], i))
  local value = get(key)
  if kind == '2' then
    paired = value ~= before and not string.find(before, '|', 1, true)
    if paired then
      value = before
      redis.call('SET', key, value, 'PX', ARGV[3])
    end
  else
    local token, kept = parse(value, '')
    if #kept == 0 and (token == '' or token ~= value or (paired and kind == '3')) then
      value = ARGV[1]
      if kind == '1' then
        redis.call('SET', key, value)
      else
        redis.call('SET', key, value, 'PX', ARGV[3])
      end
      if count == '' then
        count = evicted()
      end
    end
  end
  before = value
  values[i] = value
end
values[#KEYS + 1] = count
return values
"""
)

# ARGV: a fresh token, how many milliseconds a new pulse rests, and "1" to look even if somebody
# refreshed it a moment ago. Everything goes by SET: it is refused whenever a mark is.
BEAT = Script(
    _COMMON
    + f"""
local life, minute = {int(LIFE * 1000)}, {EVICTING}
"""
    + """
local fresh, rest = ARGV[1], tonumber(ARGV[2])
local value = get(KEYS[1])
local token, count, since, identity = string.match(value, '^(%S+) (%S+) (%d+) (%S*) [01]$')
local resting = token and string.match(token, '^|(%d+)$')
if token and not resting and ARGV[3] ~= '1' and redis.call('PTTL', KEYS[1]) > life * 3 / 4 then
  return value
end
local here, is_evicted = '?', evicted()
local server, links = redis.pcall('INFO', 'server'), redis.pcall('INFO', 'replication')
if type(server) == 'string' and type(links) == 'string' then
  here = string.sub(string.match(server, 'run_id:(%x+)') or '', 1, 8)
      .. string.sub(string.match(links, 'master_replid:(%x+)') or '', 1, 8)
end
if not token or identity ~= here or not (is_token(token) or resting) then
  -- Another server, or one that has lost what it held since: a new pulse, which rests.
  since, count = is_evicted ~= '0' and now or 0, nil
  token = rest > 0 and string.format('|%d', now + rest) or fresh
elseif resting and tonumber(resting) <= now then
  token = fresh
elseif resting and tonumber(resting) > now + rest + 1000 then
  token = string.format('|%d', now + rest)
end
if count and is_evicted ~= count then
  since = now
end
since = math.min(tonumber(since), now)
local evicting = (is_evicted == '?' or now - since < minute) and '1' or '0'
value = string.format('%s %s %d %s %s', token, is_evicted, since, here, evicting)
redis.call('SET', KEYS[1], value, 'PX', life)
return value
"""
)

# ARGV: "take" or "drop", who, and for how many milliseconds. A lease that was given back leaves
# "done" for a while. Returns 0 where another has it, 2 where one had it a moment ago, else 1.
LEASE = Script(
    """
local held = redis.pcall('GET', KEYS[1])
if ARGV[1] == 'take' then
  if type(held) == 'string' and held ~= 'done' then
    return 0
  end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return held and 2 or 1
end
if held == ARGV[2] then
  redis.call('SET', KEYS[1], 'done', 'PX', ARGV[3])
end
return 1
"""
)
