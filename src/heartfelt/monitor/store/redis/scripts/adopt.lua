-- SPDX-License-Identifier: MIT
-- Takes a page over from a monitor without a lease.
-- KEYS: lease, own, page, page with the new fence, lease of the owner. ARGV: epoch, number of the page, its owner's mark,
-- the new mark, '1' if it is ours already, bytes of a page.
-- Returns the page; '' if its deadlines were gone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
local owner = redis.call('HGET', KEYS[2], ARGV[2])
if owner == ARGV[4] then -- this call was executed before
    return redis.call('GET', KEYS[4]) or ''
end
if owner ~= ARGV[3] or (ARGV[5] ~= '1' and redis.call('EXISTS', KEYS[5]) == 1) then
    return 'refused'
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
local page = redis.call('GET', KEYS[3])
if page and #page == tonumber(ARGV[6]) then
    redis.call('RENAME', KEYS[3], KEYS[4])
    return page
end
redis.call('SET', KEYS[4], string.rep('\0', ARGV[6]))
return ''
