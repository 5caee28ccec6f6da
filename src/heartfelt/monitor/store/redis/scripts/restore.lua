-- SPDX-License-Identifier: MIT
-- Writes entries and rows of one page again, of names that have no entry, or this one.
-- KEYS: lease, slot, own, rows. ARGV: epoch, number of the page, its owner's mark, msgpack of field of a name, entry, row
-- or '', field ...
-- Returns two strings for each name: '' twice, or its entry and the mark of its page's owner, or '-'.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[3] then
    return 'page'
end
local wanted, found = cmsgpack.unpack(ARGV[4]), {}
for i = 1, #wanted, 3 do
    local name, entry, row = wanted[i], wanted[i + 1], wanted[i + 2]
    local now = redis.call('HGET', KEYS[2], name)
    found[#found + 1] = ''
    found[#found + 1] = ''
    if now and now ~= entry then
        found[#found - 1] = now
        found[#found] = redis.call('HGET', KEYS[3], string.format('%.0f', struct.unpack('<I4', now))) or '-'
    else
        redis.call('HSET', KEYS[2], name, entry)
        if row ~= '' then
            local _, index = struct.unpack('<I4I2', entry)
            redis.call('HSET', KEYS[4], string.format('%.0f', index), entry:sub(7, 14) .. row)
        end
    end
end
return found
