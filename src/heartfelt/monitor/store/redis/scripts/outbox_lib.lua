-- SPDX-License-Identifier: MIT
-- Goes in front of each script of the outbox; outbox.py describes the keys and the layout of a row.
-- number: eight bytes, as the fields and the ends of members have it. Every index is a sorted set whose scores are all
-- 0, so that it is in the order of its members' bytes. Strings are never compared by `<`, which depends on the locale.

local NUMBER, ROWS, KEYED, LOG, OPEN, QUEUE, LEVELS, DUE, FIRST, TARGETS = unpack(KEYS, 1, 10)
local ROW, ROW_BYTES, COUNTS, DIGEST = '>BBI4I8I8c8c12c12c12', 66, '>I4I4I4', 12
local WAITING, CLAIMED, DONE, FAILED = 0, 1, 2, 3
local NOBODY = string.rep('\0', 8)

local function packed(number)
  return struct.pack('>I8', number)
end

local function id_of(number)
  return string.format('%.0f-0', (struct.unpack('>I8', number)))
end

local function read(number)
  local text = redis.call('HGET', ROWS, number)
  if not text or #text < ROW_BYTES then
    return nil
  end
  local row = {answer = string.sub(text, ROW_BYTES + 1)}
  row.state, row.level, row.attempts, row.next_ms, row.created_ms, row.claim, row.target, row.subject, row.key =
    struct.unpack(ROW, text)
  return row
end

local function write(number, row)
  redis.call('HSET', ROWS, number, struct.pack(ROW, row.state, row.level, row.attempts, row.next_ms, row.created_ms,
    row.claim, row.target, row.subject, row.key) .. row.answer)
end

-- The first member that begins with these bytes; what follows them in a member never begins with \255.
local function first_of(set, start)
  return redis.call('ZRANGEBYLEX', set, '[' .. start, '(' .. start .. '\255', 'LIMIT', 0, 1)[1]
end

-- Adds a delivery to what is due, or removes it. FIRST has the first member of each target and level in DUE.
local function file(command, number, row, level)
  local group = row.target .. string.char(level)
  local before = first_of(DUE, group)
  local member = group .. packed(row.next_ms) .. number
  if command == 'ZADD' then
    redis.call('ZADD', DUE, 0, member)
  else
    redis.call('ZREM', DUE, member)
  end
  local after = first_of(DUE, group)
  if before ~= after then
    if before then
      redis.call('ZREM', FIRST, string.sub(before, DIGEST + 1) .. row.target)
    end
    if after then
      redis.call('ZADD', FIRST, 0, string.sub(after, DIGEST + 1) .. row.target)
    end
  end
end

-- The most urgent level that waits in a subject: its oldest delivery is due with that. nil: none waits.
local function level_of(subject)
  local text = redis.call('HGET', LEVELS, subject)
  if not text then
    return nil
  end
  local counts = {struct.unpack(COUNTS, text)}
  for level = 0, 2 do
    if counts[level + 1] > 0 then
      return level
    end
  end
  return nil
end

local function count_level(row, change)
  local text = redis.call('HGET', LEVELS, row.subject)
  local counts = text and {struct.unpack(COUNTS, text)} or {0, 0, 0}
  counts[row.level + 1] = math.max(0, counts[row.level + 1] + change)
  if counts[1] + counts[2] + counts[3] == 0 then
    redis.call('HDEL', LEVELS, row.subject)
  else
    redis.call('HSET', LEVELS, row.subject, struct.pack(COUNTS, counts[1], counts[2], counts[3]))
  end
end

-- The oldest delivery of a subject that waits, and its row. Members without a row, which only a damaged Redis has, are
-- removed.
local function oldest_of(subject)
  while true do
    local member = first_of(QUEUE, subject)
    if not member then
      return nil
    end
    local number = string.sub(member, DIGEST + 1)
    local row = read(number)
    if row then
      return number, row
    end
    redis.call('ZREM', QUEUE, member)
  end
end

-- Changes when a delivery is due.
local function move(number, row, level, next_ms)
  file('ZREM', number, row, level)
  row.next_ms = next_ms
  file('ZADD', number, row, level)
end

-- Takes a delivery out of its subject; the next one is due then.
local function leave(number, row)
  local level = level_of(row.subject)
  local oldest, oldest_row = oldest_of(row.subject)
  redis.call('ZREM', OPEN, row.target .. number)
  redis.call('ZREM', QUEUE, row.subject .. number)
  count_level(row, -1)
  local now_level = level_of(row.subject)
  if oldest == number then
    file('ZREM', number, row, level or row.level)
    oldest, oldest_row = oldest_of(row.subject)
    if oldest then
      oldest_row.next_ms = oldest_row.created_ms
      write(oldest, oldest_row)
      file('ZADD', oldest, oldest_row, now_level or oldest_row.level)
    end
  elseif oldest and now_level ~= level then
    file('ZREM', oldest, oldest_row, level)
    file('ZADD', oldest, oldest_row, now_level or oldest_row.level)
  end
end

local function settle(number, row, state, answer)
  leave(number, row)
  row.state, row.answer, row.claim, row.next_ms = state, answer, NOBODY, 0
  write(number, row)
end
