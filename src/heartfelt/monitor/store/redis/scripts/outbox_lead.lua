-- SPDX-License-Identifier: MIT
-- Makes a fence the leader's, and stores the position of the webhooks if it is given. ARGV: the fence, how often it has
-- written, the position. Returns how often it has written, and the position; nothing: it may not write.
local written = count_write(ARGV[1], ARGV[2])
if not written then
  return {}
end
redis.call('HSET', LEAD, 'fence', ARGV[1])
if ARGV[3] then
  redis.call('HSET', LEAD, 'position', ARGV[3])
end
return {written, redis.call('HGET', LEAD, 'position')}
