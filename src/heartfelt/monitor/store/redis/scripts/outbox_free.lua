-- SPDX-License-Identifier: MIT
-- Lets deliveries be claimed again whose claimers live no more. ARGV: the leader's fence, how often it has written, the
-- time, the most steps, after which member of DUE to begin ("": from the first), the answer, the marks of those that
-- live (four bytes each). Returns how many that are, how often the leader has written, and the member to go on after
-- ("": that was all); nothing: it may not write. A claim ends later than now, so what is due is passed over.
local written = count_write(ARGV[1], ARGV[2])
if not written then
  return {}
end
local now_ms, most, after, answer, lives = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6], {}
for at = 1, #ARGV[7], 4 do
  lives[string.sub(ARGV[7], at, at + 3)] = true
end
local freed = 0
for _ = 1, most do
  local member = redis.call('ZRANGEBYLEX', DUE, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, 1)[1]
  if not member then
    return {freed, written, ''}
  end
  if struct.unpack('>I8', member, DIGEST + 2) <= now_ms then
    after = string.sub(member, 1, DIGEST + 1) .. packed(now_ms) .. string.rep('\255', 8)
  else
    local number = string.sub(member, DIGEST + 10)
    local row = read(number)
    if row and row.state == CLAIMED and not lives[string.sub(row.claim, 1, 4)] then
      row.state, row.claim, row.answer = WAITING, NOBODY, answer
      move(number, row, string.byte(member, DIGEST + 1), now_ms)
      write(number, row)
      freed = freed + 1
    end
    after = member
  end
end
return {freed, written, after}
