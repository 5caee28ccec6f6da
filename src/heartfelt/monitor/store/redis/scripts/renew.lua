-- SPDX-License-Identifier: MIT
-- Renews a lease, and returns notices of what was moved away from its monitor, until it says that they have arrived.
-- KEYS: lease, moved. ARGV: epoch, ms that the lease lasts, how many notices at most, how many have arrived of those that
-- were returned before, the last one of these.
-- Returns whether the lease was there, TIME in ms, and the notices; 'stale' if a later epoch has begun.
local old = redis.call('GET', KEYS[1])
if old and tonumber(old) > tonumber(ARGV[1]) then
    return 'stale'
end
if old == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2]) -- works also when Redis is out of memory
else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if ARGV[4] ~= '0' and redis.call('LINDEX', KEYS[2], ARGV[4] - 1) == ARGV[5] then
    redis.call('LTRIM', KEYS[2], ARGV[4], -1)
end
local moved = redis.call('LRANGE', KEYS[2], 0, ARGV[3] - 1)
local time = redis.call('TIME')
return {old and 1 or 0, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), moved}
