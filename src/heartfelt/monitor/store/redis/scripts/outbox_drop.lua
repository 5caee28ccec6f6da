-- SPDX-License-Identifier: MIT
-- Gives up what waits for a target, the newest first, so that no other becomes due meanwhile. ARGV: target, answer, the
-- most, the highest number ("": the one of now). Returns how many were given up, whether there may be more, and the
-- highest number.
local target, answer, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local highest = ARGV[4] ~= '' and ARGV[4] or packed(tonumber(redis.call('GET', NUMBER) or 0))
local members = redis.call('ZREVRANGEBYLEX', OPEN, '[' .. target .. highest, '[' .. target, 'LIMIT', 0, most)
local dropped = 0
for _, member in ipairs(members) do
  local number = string.sub(member, DIGEST + 1)
  local row = read(number)
  if row then
    settle(number, row, FAILED, answer)
    dropped = dropped + 1
  else
    redis.call('ZREM', OPEN, member)
  end
end
return {dropped, #members == most and 1 or 0, highest}
