-- SPDX-License-Identifier: MIT
-- Makes a fence the leader's, and stores the position of the webhooks if it is given. ARGV: the fence, the position.
-- Returns whether it leads, and the position.
if is_superseded(ARGV[1]) then
  return {0}
end
redis.call('HSET', LEAD, 'fence', ARGV[1])
if ARGV[2] then
  redis.call('HSET', LEAD, 'position', ARGV[2])
end
return {1, redis.call('HGET', LEAD, 'position')}
