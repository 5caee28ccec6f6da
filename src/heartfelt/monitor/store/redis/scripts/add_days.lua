-- SPDX-License-Identifier: MIT
-- Adds to a day of services.
-- KEYS: done, the day.
-- ARGV: number of the call, ms that `done` lasts, ms that the day lasts, then a service and msgpack of what to add of each.
local done = redis.call('GET', KEYS[1])
if done and tonumber(done) >= tonumber(ARGV[1]) then return 0 end
for i = 4, #ARGV, 2 do
    local sums = cmsgpack.unpack(ARGV[i + 1])
    local old = redis.call('HGET', KEYS[2], ARGV[i])
    if old then
        for j, one in ipairs(cmsgpack.unpack(old)) do sums[j] = sums[j] + one end
    end
    redis.call('HSET', KEYS[2], ARGV[i], cmsgpack.pack(sums))
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
