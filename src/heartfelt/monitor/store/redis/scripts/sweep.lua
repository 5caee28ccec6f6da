-- SPDX-License-Identifier: MIT
-- Deletes entries of names whose row is gone: they were reserved by a monitor that died, and nobody has asked for them.
-- KEYS: lease, slot, own, rows of the page. ARGV: epoch, number of the page, its owner's mark or '-', msgpack of field of a
-- name, entry that was read, field ...
-- Returns how many were deleted.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if (redis.call('HGET', KEYS[3], ARGV[2]) or '-') ~= ARGV[3] then
    return 0
end
local read, n = cmsgpack.unpack(ARGV[4]), 0
for i = 1, #read, 2 do
    local entry = read[i + 1]
    if redis.call('HGET', KEYS[2], read[i]) == entry then
        local _, index = struct.unpack('<I4I2', entry)
        local row = redis.call('HGET', KEYS[4], string.format('%.0f', index))
        if not row or row:sub(1, 8) ~= entry:sub(7, 14) then
            n = n + redis.call('HDEL', KEYS[2], read[i])
        end
    end
end
return n
