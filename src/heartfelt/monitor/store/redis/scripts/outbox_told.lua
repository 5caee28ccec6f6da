-- SPDX-License-Identifier: MIT
-- Records what a target was told. KEYS[12]: the targets that were told something; KEYS[13]: what this one was. ARGV: the
-- leader's fence, target, its name, how many are told, their names and keys, then the names of those that are over.
-- Returns 1; -1: another monitor leads.
local fence, target, name, told = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if is_superseded(fence) then
  return -1
end
if told > 0 then
  redis.call('HSET', KEYS[12], target, name)
  redis.call('HSET', KEYS[13], unpack(ARGV, 5, 4 + 2 * told))
end
if #ARGV > 4 + 2 * told then
  redis.call('HDEL', KEYS[13], unpack(ARGV, 5 + 2 * told))
end
return 1
