-- SPDX-License-Identifier: MIT
-- Gives new entries to names whose row is gone: their monitor died, or lost the answer, before it wrote one.
-- KEYS: lease, slot, own, rows of the old page.
-- ARGV: epoch, number of the new page, its owner's mark, msgpack of field of a name, old entry, new index, field ...
-- Returns a string for each name: its new entry, or '' if it is not so.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[3] then
    return 'page'
end
local page, wanted, found = tonumber(ARGV[2]), cmsgpack.unpack(ARGV[4]), {}
for i = 1, #wanted, 3 do
    local name, old = wanted[i], wanted[i + 1]
    local _, index, generation, id = struct.unpack('<I4I2I2I6', old)
    local made = struct.pack('<I4I2I2I6', page, wanted[i + 2], (generation + 1) % 65536, id)
    local now = redis.call('HGET', KEYS[2], name)
    if now == old then
        local row = redis.call('HGET', KEYS[4], string.format('%.0f', index))
        if row and row:sub(1, 8) == old:sub(7, 14) then
            made = ''
        else
            redis.call('HSET', KEYS[2], name, made)
        end
    elseif now ~= made then -- otherwise this call was executed before
        made = ''
    end
    found[#found + 1] = made
end
return found
