-- SPDX-License-Identifier: MIT
-- Makes deliveries of a target and a level due now that wait for their next attempt. ARGV: target, level, the time, the
-- most to look at, after which member to begin ("": from the first). Returns the member to go on after; "": that was all.
local target, level, now_ms, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local group = target .. string.char(level)
local after = ARGV[5] ~= '' and '(' .. ARGV[5] or '[' .. group .. packed(now_ms + 1)
local members = redis.call('ZRANGEBYLEX', DUE, after, '(' .. group .. '\255', 'LIMIT', 0, most)
for _, member in ipairs(members) do
  local number = string.sub(member, DIGEST + 10)
  local row = read(number)
  if row and row.state == WAITING then
    move(number, row, level, now_ms)
    write(number, row)
  end
end
return #members == most and members[#members] or ''
