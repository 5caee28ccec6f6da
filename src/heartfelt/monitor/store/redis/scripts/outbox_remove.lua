-- SPDX-License-Identifier: MIT
-- Deletes deliveries that were put before a time. KEYS from 12 on: the targets' streams. ARGV: the time, then number and
-- stream of each. Returns how many were deleted, and how many of those had been neither done nor given up.
local before_ms, removed, unsent = tonumber(ARGV[1]), 0, 0
for at = 2, #ARGV, 2 do
  local number, stream = ARGV[at], KEYS[11 + ARGV[at + 1]]
  local row = read(number)
  if not row then
    redis.call('XDEL', LOG, id_of(number))
  elseif row.created_ms < before_ms then
    if row.state < DONE then
      leave(number, row)
      unsent = unsent + 1
    end
    redis.call('HDEL', ROWS, number)
    if redis.call('HGET', KEYED, row.key) == number then
      redis.call('HDEL', KEYED, row.key)
    end
    redis.call('XDEL', LOG, id_of(number))
    redis.call('XDEL', stream, id_of(number))
    if redis.call('XLEN', stream) == 0 then
      redis.call('DEL', stream)
      redis.call('HDEL', TARGETS, row.target)
    end
    removed = removed + 1
  end
end
return {removed, unsent}
