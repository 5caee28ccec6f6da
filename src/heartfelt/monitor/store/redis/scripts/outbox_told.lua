-- SPDX-License-Identifier: MIT
-- Records what a target was told. KEYS[12]: the targets that were told something; KEYS[13]: what this one was. ARGV: the
-- leader's fence, how often it has written, target, its name, how many are told, their names and keys, then the names of
-- those that are over. Returns 0, and how often it has written; nothing: it may not write.
local target, name, told = ARGV[3], ARGV[4], tonumber(ARGV[5])
local written = count_write(ARGV[1], ARGV[2])
if not written then
  return {}
end
if told > 0 then
  redis.call('HSET', KEYS[12], target, name)
  redis.call('HSET', KEYS[13], unpack(ARGV, 6, 5 + 2 * told))
end
if #ARGV > 5 + 2 * told then
  redis.call('HDEL', KEYS[13], unpack(ARGV, 6 + 2 * told))
end
return {0, written}
