-- SPDX-License-Identifier: MIT
-- Moves entries from one page into another.
-- KEYS: lease, slot, own, page, rows, old page, old rows, lease of the old owner, moved of the old owner.
-- ARGV: epoch, number of the page, its owner's mark, number of the old page, its owner's mark, '1' if the old owner agreed
-- or is the same, '1' if it is to be told, ms that `moved` lasts, how many it has at most,
-- msgpack of field of a name, entry that was read, new index, field ...
-- Returns three strings for each name: its new entry, its row, its deadline. Refused: its entry now, or '', and '' twice.
-- Its row is gone: 'gone', and '' twice.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[3] then
    return 'page'
end
local wanted, found = cmsgpack.unpack(ARGV[10]), {}
local allowed = (redis.call('HGET', KEYS[3], ARGV[4]) or '-') == ARGV[5]
    and (ARGV[6] == '1' or redis.call('EXISTS', KEYS[8]) == 0)
local page, tell = tonumber(ARGV[2]), ARGV[7] == '1'
local waiting = tell and redis.call('LLEN', KEYS[9])
for i = 1, #wanted, 3 do
    local name, old, at = wanted[i], wanted[i + 1], wanted[i + 2]
    local now = redis.call('HGET', KEYS[2], name) or ''
    found[i], found[i + 1], found[i + 2] = now, '', ''
    if allowed and now == old then
        local _, index, generation, id = struct.unpack('<I4I2I2I6', old)
        local field = string.format('%.0f', index)
        local row = redis.call('HGET', KEYS[7], field)
        if row and row:sub(1, 8) == old:sub(7, 14) then
            local new = struct.pack('<I4I2I2I6', page, at, (generation + 1) % 65536, id)
            local deadline = redis.call('GETRANGE', KEYS[6], index * 8, index * 8 + 7)
            redis.call('HSET', KEYS[5], string.format('%.0f', at), new:sub(7, 14) .. row:sub(9))
            redis.call('HSET', KEYS[2], name, new)
            if #deadline == 8 then
                redis.call('SETRANGE', KEYS[4], at * 8, deadline)
                redis.call('SETRANGE', KEYS[6], index * 8, string.rep('\0', 8))
            end
            redis.call('HDEL', KEYS[7], field)
            if tell and waiting <= tonumber(ARGV[9]) then -- the last one says that there was no room
                redis.call('RPUSH', KEYS[9], waiting < tonumber(ARGV[9]) and old or '')
                waiting = waiting + 1
            end
            found[i], found[i + 1], found[i + 2] = new, row:sub(9), deadline
        else
            found[i] = 'gone'
        end
    end
end
if tell and waiting > 0 then
    redis.call('PEXPIRE', KEYS[9], ARGV[8])
end
return found
