-- SPDX-License-Identifier: MIT
-- Makes a new page.
-- KEYS: lease, own, page. ARGV: epoch, number of the page, its owner's mark, bytes of a page.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3]) == 0 then
    return redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[3] and 'done' or 'taken'
end
redis.call('SET', KEYS[3], string.rep('\0', ARGV[4]))
return 'done'
