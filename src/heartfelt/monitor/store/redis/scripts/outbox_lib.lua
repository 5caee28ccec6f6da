-- SPDX-License-Identifier: MIT
-- Goes in front of each script of the outbox; outbox.py describes the keys and the layout of a row.
-- number: eight bytes, as the fields and the ends of members have it. Every index is a sorted set whose scores are all
-- 0, so that it is in the order of its members' bytes. Strings are never compared by `<`, which depends on the locale.

local NUMBER, ROWS, KEYED, LOG, OPEN, QUEUE, LEVELS, DUE, FIRST, TARGETS, LEAD = unpack(KEYS, 1, 11)
local ROW, ROW_BYTES, COUNTS, DIGEST = '>BBI4I8I8c8c12c12c12', 66, '>I4I4I4', 12
local WAITING, CLAIMED, DONE, FAILED = 0, 1, 2, 3
local NOBODY = string.rep('\0', 8)

local function packed(number)
  return struct.pack('>I8', number)
end

local function id_of(number)
  return string.format('%.0f-0', (struct.unpack('>I8', number)))
end

-- Counts a write of the leader, and returns how many it has made; 0 without a leader. nil: another monitor leads now, or
-- a replica has taken over that does not have all of its writes.
local function count_write(fence, written)
  if tonumber(fence) == 0 then
    return redis.call('HEXISTS', LEAD, 'fence') == 0 and 0 or nil
  end
  local found = redis.call('HMGET', LEAD, 'fence', 'written')
  if tonumber(found[1] or 0) > tonumber(fence) or tonumber(found[2] or 0) < tonumber(written) then
    return nil
  end
  return redis.call('HINCRBY', LEAD, 'written', 1)
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
  local text = struct.pack(ROW, row.state, row.level, row.attempts, row.next_ms, row.created_ms, row.claim, row.target,
    row.subject, row.key) .. row.answer
  redis.call('HSET', ROWS, number, text)
  return text
end

-- The first member that begins with these bytes; what follows them in a member never begins with \255.
local function first_of(set, start)
  return redis.call('ZRANGEBYLEX', set, '[' .. start, '(' .. start .. '\255', 'LIMIT', 0, 1)[1]
end

-- FIRST has the first member of each target and level in DUE, beginning with its level. The place of a delivery in DUE:
-- when it is due, and its number.
local function place_of(number, row)
  return packed(row.next_ms) .. number
end

-- Changes the place of a delivery in DUE. nil: it was, or is to be, in none.
local function place(target, level, old, new)
  local mark, was_first = string.char(level), false
  local group = target .. mark
  if old then
    redis.call('ZREM', DUE, group .. old)
    was_first = redis.call('ZREM', FIRST, mark .. old .. target) == 1
  end
  if new then
    redis.call('ZADD', DUE, 0, group .. new)
  elseif not was_first then
    return
  end
  local first = redis.call('ZRANGEBYLEX', DUE, '[' .. group, '(' .. group .. '\255', 'LIMIT', 0, 2)
  if first[1] and (was_first or first[1] == group .. new) then
    if first[2] and not was_first then
      redis.call('ZREM', FIRST, string.sub(first[2], DIGEST + 1) .. target)
    end
    redis.call('ZADD', FIRST, 0, string.sub(first[1], DIGEST + 1) .. target)
  end
end

-- Changes when a delivery is due.
local function move(number, row, level, next_ms)
  local old = place_of(number, row)
  row.next_ms = next_ms
  place(row.target, level, old, place_of(number, row))
end

-- The most urgent level that waits in a subject: its oldest delivery is due with that. nil: none waits. Also returns how
-- many wait with each level.
local function level_of(subject)
  local text = redis.call('HGET', LEVELS, subject)
  local counts = text and {struct.unpack(COUNTS, text)} or {0, 0, 0}
  for level = 0, 2 do
    if counts[level + 1] > 0 then
      return level, counts
    end
  end
  return nil, counts
end

-- Adds to how many wait with a level, and returns the most urgent one then.
local function count_level(subject, counts, level, change)
  counts[level + 1] = math.max(0, counts[level + 1] + change)
  for most_urgent = 0, 2 do
    if counts[most_urgent + 1] > 0 then
      redis.call('HSET', LEVELS, subject, struct.pack(COUNTS, counts[1], counts[2], counts[3]))
      return most_urgent
    end
  end
  redis.call('HDEL', LEVELS, subject)
  return nil
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

-- Takes a delivery out of its subject; the next one is due then.
local function leave(number, row)
  local before, counts = level_of(row.subject)
  local first = first_of(QUEUE, row.subject)
  redis.call('ZREM', OPEN, row.target .. number)
  redis.call('ZREM', QUEUE, row.subject .. number)
  local after = count_level(row.subject, counts, row.level, -1)
  local was_oldest = first == row.subject .. number
  if was_oldest then
    place(row.target, before or row.level, place_of(number, row), nil)
  end
  if not after or (not was_oldest and after == before) then
    return
  end
  local oldest, oldest_row = oldest_of(row.subject)
  if not oldest then
    return
  end
  if was_oldest then
    oldest_row.next_ms = oldest_row.created_ms
    write(oldest, oldest_row)
  else
    place(row.target, before, place_of(oldest, oldest_row), nil)
  end
  place(row.target, after, nil, place_of(oldest, oldest_row))
end

local function settle(number, row, state, answer)
  leave(number, row)
  row.state, row.answer, row.claim, row.next_ms = state, answer, NOBODY, 0
  write(number, row)
end
