-- SPDX-License-Identifier: MIT
-- Puts deliveries whose target and key were not put before. KEYS from 11 on: the targets' streams. ARGV: nine for each
-- delivery. Returns how many are new. Numbers are from the time, so that those of deliveries that are gone, because Redis
-- was emptied or a replica without them has taken over, are not those of others.
local added, now = 0, redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local last = math.max(tonumber(redis.call('GET', NUMBER) or 0), (now_ms - 1704067200000) * 16)
for at = 1, #ARGV, 9 do
  local target, subject, key, level, created_ms, stream, name, key_text, payload = unpack(ARGV, at, at + 8)
  if redis.call('HEXISTS', KEYED, key) == 0 then
    last = last + 1
    redis.call('SET', NUMBER, string.format('%.0f', last))
    local number = packed(last)
    local id = id_of(number)
    local row = {
      state = WAITING, level = tonumber(level), attempts = 0, next_ms = 0, created_ms = tonumber(created_ms),
      claim = NOBODY, target = target, subject = subject, key = key, answer = '',
    }
    local before = level_of(subject)
    local oldest, oldest_row = nil, nil
    if before then
      oldest, oldest_row = oldest_of(subject)
      if not oldest then -- Only a damaged Redis counts what is not there.
        redis.call('HDEL', LEVELS, subject)
        before = nil
      end
    end
    if not before then
      row.next_ms = row.created_ms
    end
    write(number, row)
    redis.call('XADD', LOG, id, 't', name, 'k', key_text, 'p', payload)
    redis.call('XADD', KEYS[10 + stream], id, '', '')
    redis.call('HSET', TARGETS, target, name)
    redis.call('HSET', KEYED, key, number)
    redis.call('ZADD', OPEN, 0, target .. number)
    redis.call('ZADD', QUEUE, 0, subject .. number)
    count_level(row, 1)
    if not before then
      file('ZADD', number, row, row.level)
    elseif row.level < before then
      file('ZREM', oldest, oldest_row, before)
      file('ZADD', oldest, oldest_row, row.level)
    end
    added = added + 1
  end
end
return added
