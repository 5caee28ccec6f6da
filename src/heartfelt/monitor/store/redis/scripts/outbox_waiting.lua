-- SPDX-License-Identifier: MIT
-- Counts what waits for each target. ARGV: after which target to begin ("": from the first), the most targets. Returns
-- the target to go on after ("": that was all), then name, count and the time of the oldest of each.
local after, most = ARGV[1], tonumber(ARGV[2])
local found = {''}
for _ = 1, most do
  local low = after == '' and '-' or '(' .. after .. '\255'
  local member = redis.call('ZRANGEBYLEX', OPEN, low, '+', 'LIMIT', 0, 1)[1]
  if not member then
    return found
  end
  after = string.sub(member, 1, DIGEST)
  local name = redis.call('HGET', TARGETS, after)
  local row = read(string.sub(member, DIGEST + 1))
  if name and row then
    found[#found + 1] = name
    found[#found + 1] = redis.call('ZLEXCOUNT', OPEN, '[' .. after, '(' .. after .. '\255')
    found[#found + 1] = row.created_ms
  end
end
found[1] = after
return found
