-- SPDX-License-Identifier: MIT
-- Puts deliveries whose target and key were not put before. KEYS from 12 on: the targets' streams. ARGV: the leader's
-- fence, how often it has written, then nine for each delivery. Returns how many are new, and how often it has written;
-- nothing: it may not write. Numbers are from the time, so that those of deliveries that are gone, because Redis
-- was emptied or a replica without them has taken over, are not those of others.
local written = count_write(ARGV[1], ARGV[2])
if not written then
  return {}
end
local now, known, added = redis.call('TIME'), {}, 0
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local last = math.max(tonumber(redis.call('GET', NUMBER) or 0), (now_ms - 1704067200000) * 16)
redis.call('SET', NUMBER, string.format('%.0f', last + (#ARGV - 2) / 9))

for at = 3, #ARGV, 9 do
  local target, subject, key, level, created_ms, stream, name, key_text, payload = unpack(ARGV, at, at + 8)
  local number = packed(last + 1)
  if redis.call('HSETNX', KEYED, key, number) == 1 then
    last, added = last + 1, added + 1
    local id = id_of(number)
    local row = {
      state = WAITING, level = tonumber(level), attempts = 0, next_ms = 0, created_ms = tonumber(created_ms),
      claim = NOBODY, target = target, subject = subject, key = key, answer = '',
    }
    redis.call('XADD', LOG, id, 't', name, 'k', key_text, 'p', payload)
    redis.call('XADD', KEYS[11 + stream], id, '', '')
    if not known[target] then
      redis.call('HSET', TARGETS, target, name)
      known[target] = true
    end
    local before, counts = level_of(subject)
    local oldest, oldest_row = nil, nil
    if before then
      oldest, oldest_row = oldest_of(subject)
      if not oldest then -- Only a damaged Redis counts what is not there.
        before, counts = nil, {0, 0, 0}
      end
    end
    if not before then
      row.next_ms = row.created_ms
      place(target, row.level, nil, place_of(number, row))
    elseif row.level < before then
      place(target, before, place_of(oldest, oldest_row), nil)
      place(target, row.level, nil, place_of(oldest, oldest_row))
    end
    count_level(subject, counts, row.level, 1)
    write(number, row)
    redis.call('ZADD', OPEN, 0, target .. number)
    redis.call('ZADD', QUEUE, 0, subject .. number)
  end
end
return {added, written}
