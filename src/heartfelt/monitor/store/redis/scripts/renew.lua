-- SPDX-License-Identifier: MIT
-- Renews a lease, and takes what was moved away from its monitor.
-- KEYS: lease, moved. ARGV: epoch, ms that the lease lasts, how many moved entries at most.
-- Returns whether the lease was there, TIME in ms, and the moved ones; 'stale' if a later epoch has begun.
local old = redis.call('GET', KEYS[1])
if old and tonumber(old) > tonumber(ARGV[1]) then
    return 'stale'
end
if old == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2]) -- works also when Redis is out of memory
else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local moved = redis.call('LRANGE', KEYS[2], 0, ARGV[3] - 1)
if #moved > 0 then
    redis.call('LTRIM', KEYS[2], #moved, -1)
end
local time = redis.call('TIME')
return {old and 1 or 0, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), moved}
