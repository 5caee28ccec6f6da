-- SPDX-License-Identifier: MIT
-- Records the result of an attempt. ARGV: number, the delivery's key and the token of the claim ("": not known), "1" if
-- it is done, when to retry ("": never), the answer, "1" if the target was called. A claimer whose claim has ended may
-- only say that it is done. Returns 1 if that changed something.
local number, key, token, ok, retry_at, answer, tried = unpack(ARGV)
local row = read(number)
if not row or row.state >= DONE or (key ~= '' and key ~= row.key) then
  return 0
end
if ok ~= '1' and (row.state ~= CLAIMED or row.claim ~= token) then
  return 0
end
if tried ~= '1' then
  row.attempts = math.max(0, row.attempts - 1)
end
if ok == '1' then
  settle(number, row, DONE, answer)
elseif retry_at == '' then
  settle(number, row, FAILED, answer)
else
  row.state, row.claim, row.answer = WAITING, NOBODY, answer
  move(number, row, level_of(row.subject) or row.level, tonumber(retry_at))
  write(number, row)
end
return 1
