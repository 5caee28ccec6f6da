-- SPDX-License-Identifier: MIT
-- Adds to a minute of services: an hour of a service is 60 cells of 8 bytes, (total, up).
-- KEYS: done, the hour.
-- ARGV: number of the call, ms that `done` lasts, ms that the hour lasts, minute, then a service and what to add to its
-- total and up.
local done = redis.call('GET', KEYS[1])
if done and tonumber(done) >= tonumber(ARGV[1]) then return 0 end
local at = tonumber(ARGV[4]) * 8
for i = 5, #ARGV, 3 do
    local cells = redis.call('HGET', KEYS[2], ARGV[i]) or ''
    if #cells < at + 8 then cells = cells .. string.rep('\0', at + 8 - #cells) end
    local total, up = struct.unpack('<I4I4', cells, at + 1)
    total = math.max(0, total + tonumber(ARGV[i + 1]))
    up = math.max(0, up + tonumber(ARGV[i + 2]))
    redis.call('HSET', KEYS[2], ARGV[i], string.sub(cells, 1, at) .. struct.pack('<I4I4', total, up)
        .. string.sub(cells, at + 8 + 1))
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
