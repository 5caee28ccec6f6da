-- SPDX-License-Identifier: MIT
-- Renews a lease, and returns notices of what was moved away from its monitor, until it says that they have arrived.
-- KEYS: lease, moved, next, done. ARGV: epoch, ms that the lease lasts, how many notices at most, how many have arrived of
-- those that were returned before, the last one of these, a new mark of the shard's data, numbers of calls of CHANGE: the
-- last one that was answered lately, or none, and those since then without an answer.
-- Returns whether the lease was there, TIME in ms, the notices, the mark of the data ('' if there is none and Redis is out
-- of memory), and whether none of these calls is known here; 'stale' if a later epoch has begun.
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
local born = redis.call('HGET', KEYS[3], 'born')
if not born then
    local reply = redis.pcall('HSET', KEYS[3], 'born', ARGV[6])
    born = type(reply) == 'number' and ARGV[6] or ''
end
local is_lost = ARGV[7] ~= ''
local done = is_lost and redis.call('GET', KEYS[4]) or ''
for number in string.gmatch(ARGV[7], '%d+') do
    is_lost = is_lost and not string.find(done, ';' .. number .. '=', 1, true)
end
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {old and 1 or 0, now, moved, born, is_lost and 1 or 0}
