-- SPDX-License-Identifier: MIT
-- Looks at a slice of events, the newest first.
-- KEYS: the part. ARGV: msgpack of what is wanted.
-- Returns 1 if it came to the end, the header of the last event that was looked at, counts by level, events that match.
local o, HEADER = cmsgpack.unpack(ARGV[1]), 25
local key, rank = KEYS[1], 0
if o.at then  -- continues after (at, number)
    rank = redis.call('ZCOUNT', key, '(' .. o.at, '+inf')
    local low, high = 0, redis.call('ZCOUNT', key, o.at, o.at)
    while low < high do
        local middle = math.floor((low + high) / 2)
        local one = redis.call('ZREVRANGE', key, rank + middle, rank + middle)[1]
        if struct.unpack('>I8', one) >= o.number then low = middle + 1 else high = middle end
    end
    rank = rank + low
end
local some = redis.call('ZREVRANGE', key, rank, rank + o.scan - 1)
local out, counts, n, seen, last = {}, {0, 0, 0}, 0, 0, ''
local fields, by_time = o.fields, o.from or o.to
for _, one in ipairs(some) do
    seen, last = seen + 1, one
    local fits = not o.needle or string.find(one, o.needle, HEADER + 1, true)
    local level = string.byte(one, 9) % 16
    if fits and o.newest then
        local number = struct.unpack('>I8', one)
        fits = number <= o.newest and number >= (o.oldest or 0)
    end
    if fits and by_time then
        local time = struct.unpack('>i8', one, 10)
        fits = (not o.from or time >= o.from) and (not o.to or time <= o.to)
    end
    if fits and o.levels then fits = o.levels[level + 1] end
    if fits and fields then
        local value = {cmsgpack.unpack_limit(one, 6, HEADER)}
        for at, wanted in pairs(fields) do
            if not wanted[value[at + 1]] then
                fits = false
                break
            end
        end
    end
    if fits then
        n = n + 1
        counts[level + 1] = counts[level + 1] + 1
        if not o.count then out[n] = one end
        if n >= o.want then break end
    end
end
return {(seen == #some and seen < o.scan) and 1 or 0, string.sub(last, 1, HEADER), counts, out}
