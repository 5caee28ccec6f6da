-- SPDX-License-Identifier: MIT
-- Deletes a page without rows.
-- KEYS: lease, own, page, rows. ARGV: epoch, number of the page, its owner's mark.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then
    return 'page'
end
if redis.call('EXISTS', KEYS[4]) == 1 then
    return 'rows'
end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
return 'done'
