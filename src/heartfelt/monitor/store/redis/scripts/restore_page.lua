-- SPDX-License-Identifier: MIT
-- Writes a page again that Redis has lost, unless its number is another page's by now. Numbers go on from those that were
-- given before.
-- KEYS: lease, own, page, next. ARGV: epoch, number of the page, its owner's mark, the page, the greatest numbers that are
-- known of next's id and seq.
-- Returns 'done' or 'taken'.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
local mark = redis.call('HGET', KEYS[2], ARGV[2])
if mark and mark ~= ARGV[3] then
    return 'taken'
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('SET', KEYS[3], ARGV[4])
for field, least in pairs({page = ARGV[2], id = ARGV[5], seq = ARGV[6]}) do
    if tonumber(redis.call('HGET', KEYS[4], field) or 0) < tonumber(least) then
        redis.call('HSET', KEYS[4], field, least)
    end
end
return 'done'
