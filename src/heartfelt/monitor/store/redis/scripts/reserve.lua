-- SPDX-License-Identifier: MIT
-- Gives entries in one page to names that have none.
-- KEYS: lease, slot, own, next. ARGV: epoch, shard, number of the page, its owner's mark, msgpack of field of a name,
-- index, field ...; the beginning of 2024 in ms. Ids follow the clock, so that none comes twice if writes are lost.
-- Returns two strings for each name: its entry, and '' if that is new, or else the mark of its page's owner, or '-'.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if redis.call('HGET', KEYS[3], ARGV[3]) ~= ARGV[4] then
    return 'page'
end
local shard, page = tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted = cmsgpack.unpack(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[6])
local before = math.max(tonumber(redis.call('HGET', KEYS[4], 'id') or 0), now - 1)
local counter, found = before, {}
for i = 1, #wanted, 2 do
    local name = wanted[i]
    local entry = redis.call('HGET', KEYS[2], name)
    if entry then
        found[i] = entry
        found[i + 1] = redis.call('HGET', KEYS[3], string.format('%.0f', struct.unpack('<I4', entry))) or '-'
    else
        counter = counter + 1
        found[i] = struct.pack('<I4I2I2I6', page, wanted[i + 1], 0, counter * 64 + shard)
        found[i + 1] = ''
        redis.call('HSET', KEYS[2], name, found[i])
    end
end
if counter > before then
    redis.call('HSET', KEYS[4], 'id', string.format('%.0f', counter))
end
return found
