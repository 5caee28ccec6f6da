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
local out, counts, n, bytes, last = {}, {0, 0, 0}, 0, 0, ''
local fields, by_time = o.fields, o.from or o.to

local function matches(one, level)
    if o.needle and not string.find(one, o.needle, HEADER + 1, true) then return false end
    if o.newest then
        local number = struct.unpack('>I8', one)
        if number > o.newest or number < (o.oldest or 0) then return false end
    end
    if by_time then
        local time = struct.unpack('>i8', one, 10)
        if (o.from and time < o.from) or (o.to and time > o.to) then return false end
    end
    if o.levels and not o.levels[level] then return false end
    if fields then
        local value = {cmsgpack.unpack_limit(one, 6, HEADER)}
        for at, wanted in pairs(fields) do
            if not wanted[value[at + 1]] then return false end
        end
    end
    return true
end

local left, is_end = o.scan, false
while left > 0 and not is_end and n < o.want and bytes < 1048576 do
    local some = redis.call('ZREVRANGE', key, rank, rank + math.min(left, 50) - 1)
    is_end = #some < math.min(left, 50)
    for at, one in ipairs(some) do
        local level = string.byte(one, 9) % 16 + 1
        last, bytes = one, bytes + #one
        if matches(one, level) then
            n = n + 1
            counts[level] = counts[level] + 1
            if not o.count then out[n] = one end
            if n >= o.want then
                is_end = is_end and at == #some
                break
            end
        end
    end
    rank, left = rank + #some, left - #some
end
return {is_end and 1 or 0, string.sub(last, 1, HEADER), counts, out}
