"""The Lua scripts of user state: what Valkey carries out in one step. Knows the keys of `features.user_state`; sends nothing.

All keys of a user lie in one cluster slot, so a script may touch all of them.
"""

from __future__ import annotations

# Takes the account records in `gone` out of a field and puts those in `new` behind what is left, where the last of equal ones
# stands. One pass over the field, however many accounts change, since Valkey serves nobody else meanwhile.
_RELATE = """
local function relate(field, gone, new, cap)
  local out, last, kept = {}, {}, {}
  for at = 1, #gone, 8 do out[string.sub(gone, at, at + 7)] = true end
  for at = 1, #new, 8 do
    local record = string.sub(new, at, at + 7)
    out[record], last[record] = true, at
  end
  local old = redis.call('HGET', KEYS[1], field) or ''
  for at = 1, #old, 8 do
    local record = string.sub(old, at, at + 7)
    if not out[record] then kept[#kept + 1] = record end
  end
  for at = 1, #new, 8 do
    local record = string.sub(new, at, at + 7)
    if last[record] == at then kept[#kept + 1] = record end
  end
  if #kept == 0 then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, string.sub(table.concat(kept), -cap))
  end
end
"""

# Adds one event to the counts that decay: they stand as of the latest event, so an earlier one counts what is left of it by then.
_DECAY = """
local half_lives, actions = {}, tonumber(ARGV[6])
for half_life in string.gmatch(ARGV[7], '%d+') do half_lives[#half_lives + 1] = tonumber(half_life) end
local function read_counts()
  local record, counts = redis.call('HGET', KEYS[1], 'd'), {}
  for i = 1, 1 + #half_lives * actions do counts[i] = record and struct.unpack('<d', record, 8 * i - 7) or 0 end
  return counts
end
local function count(counts, action, time)
  for window, half_life in ipairs(half_lives) do
    local first, added = 1 + (window - 1) * actions, 1
    if time > counts[1] then
      local left = 2 ^ ((counts[1] - time) / half_life)
      for i = first + 1, first + actions do counts[i] = counts[i] * left end
    else
      added = 2 ^ ((time - counts[1]) / half_life)
    end
    counts[first + 1 + action] = counts[first + 1 + action] + added
  end
  if time > counts[1] then counts[1] = time end
end
local function write_counts(counts)
  for i, value in ipairs(counts) do counts[i] = struct.pack('<d', value) end
  redis.call('HSET', KEYS[1], 'd', table.concat(counts))
end
"""

# Puts records behind those of a field of the user hash and keeps the last `cap` bytes.
_JOIN = """
local function append(field, records, cap)
  if records ~= '' then
    local blob = (redis.call('HGET', KEYS[1], field) or '') .. records
    redis.call('HSET', KEYS[1], field, string.sub(blob, -cap))
  end
end
"""

# Puts 8-byte records at the end of a field of the user hash, each once: an older one like it goes. Keeps the last `cap` bytes.
# Where a record is, is found and cut out by string functions of C, since a loop over 16 kB would hold up everybody.
_LATEST = """
local function latest(field, records, cap)
  if #records == 0 then return end
  local blob = redis.call('HGET', KEYS[1], field) or ''
  for _, record in ipairs(records) do
    local at = string.find(blob, record, 1, true)
    while at and at % 8 ~= 1 do at = string.find(blob, record, at + 1, true) end
    if at then blob = string.sub(blob, 1, at - 1) .. string.sub(blob, at + 8) end
    blob = blob .. record
  end
  redis.call('HSET', KEYS[1], field, string.sub(blob, -cap))
end
"""

# Drops what is older than `memory` seconds from a sorted set by time, lets the set go when nothing is added for as long, and keeps
# its newest `most` members. Times are Valkey's own: those of devices and of the data clock say nothing about when to forget.
_REMEMBER = """
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function forget_old(key, now, memory, most)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - memory * 1000)
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - most)
  redis.call('EXPIRE', key, memory)
end
"""

# KEYS: user hash, event ids. ARGV: byte caps of history, seen media and followed accounts; seconds for which an event id is
# remembered, and how many are at most; the number of action codes, the half-lives; then per event: its id, its action code and
# time, its history record, its seen record, the account it follows (each record may be empty). Returns how many events were new.
APPEND = (
    _RELATE
    + _DECAY
    + _JOIN
    + _LATEST
    + _REMEMBER
    + """
local stored, counts, history, seen, followed, now = 0, read_counts(), {}, {}, {}, now_ms()
for base = 8, #ARGV, 6 do
  if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[base]) == 1 then
    redis.call('HINCRBY', KEYS[1], 'c' .. ARGV[base + 1], 1)
    count(counts, tonumber(ARGV[base + 1]), tonumber(ARGV[base + 2]))
    stored = stored + 1
    history[stored], followed[stored] = ARGV[base + 3], ARGV[base + 5]
    if ARGV[base + 4] ~= '' then seen[#seen + 1] = ARGV[base + 4] end
  end
end
forget_old(KEYS[2], now, tonumber(ARGV[4]), tonumber(ARGV[5]))
if stored > 0 then write_counts(counts) end
append('h', table.concat(history), tonumber(ARGV[1]))
latest('s', seen, tonumber(ARGV[2]))
local accounts = table.concat(followed)
if accounts ~= '' then relate('rf', '', accounts, tonumber(ARGV[3])) end
return stored
"""
)

# KEYS: user hash, event ids. ARGV: how many fields of accounts there are, then per field its name and byte cap; then a name and a
# value per field of the new state. Event ids go with the old state: what the new one lacks is to be counted again. Accounts stay,
# the stored ones as the newest.
REPLACE = (
    _RELATE
    + """
local kept, fields = {}, tonumber(ARGV[1])
for at = 2, 1 + 2 * fields, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[at])
  if stored then kept[#kept + 1] = {ARGV[at], stored, tonumber(ARGV[at + 1])} end
end
redis.call('DEL', KEYS[1], KEYS[2])
for at = 2 + 2 * fields, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
for _, each in ipairs(kept) do relate(each[1], '', each[2], each[3]) end
return 1
"""
)

# KEYS: user hash. ARGV: per field that changes: its name, the records to take out, the records to put in, its byte cap.
SET_RELATIONS = (
    _RELATE
    + """
for i = 1, #ARGV, 4 do relate(ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])) end
return 1
"""
)

# KEYS: user hash, request ids, the exposure. ARGV: byte cap of seen media, their records, the request's id, the exposure's record,
# seconds for which it is kept, how many are at most, and what the key of an exposure begins with.
REMEMBER = (
    _JOIN
    + _REMEMBER
    + """
append('s', ARGV[2], tonumber(ARGV[1]))
local now = now_ms()
redis.call('SET', KEYS[3], ARGV[4], 'EX', ARGV[5])
redis.call('ZADD', KEYS[2], now, ARGV[3])
for _, request in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - tonumber(ARGV[6]))) do
  redis.call('DEL', ARGV[7] .. request)
end
forget_old(KEYS[2], now, tonumber(ARGV[5]), tonumber(ARGV[6]))
return 1
"""
)

# KEYS: user hash, event ids, request ids. ARGV: what the key of an exposure begins with; the request's id follows. Returns how many
# fields of the state, event ids and exposures there were.
FORGET = """
local fields, events, exposures = redis.call('HLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), 0
for _, request in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  exposures = exposures + redis.call('DEL', ARGV[1] .. request)
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return {fields, events, exposures}
"""
