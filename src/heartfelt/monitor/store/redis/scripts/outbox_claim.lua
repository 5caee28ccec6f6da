-- SPDX-License-Identifier: MIT
-- Claims deliveries that are due. KEYS[12]: what this claimer claimed by its last call. ARGV: the time, how long a claim
-- lasts, the most, the token of this call, the token of an earlier call whose answer was lost, and the room of each
-- target (digest, two bytes). What was claimed by a call without an answer is as it was before it.
-- Returns the number of members without a row, then number and row of each.
local now_ms, lasts_ms, limit, token, lost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local room = {}
for at = 1, #ARGV[6], 14 do
  local target, most = struct.unpack('>c12I2', ARGV[6], at)
  room[target] = most
end

local kept = redis.call('GET', KEYS[12])
local kept_token = kept and string.sub(kept, 1, 8)
if kept and (kept_token == token or kept_token == lost) then
  for at = 9, #kept, 16 do
    local number = string.sub(kept, at, at + 7)
    local row = read(number)
    if row and row.state == CLAIMED and row.claim == kept_token then
      row.state, row.claim, row.attempts = WAITING, NOBODY, math.max(0, row.attempts - 1)
      move(number, row, level_of(row.subject) or row.level, (struct.unpack('>I8', kept, at + 8)))
      write(number, row)
    end
  end
  redis.call('DEL', KEYS[12])
end

local found, claims, ghosts = {0}, {token}, 0
local function claim(head, level)
  local old, number, target = string.sub(head, 2, 17), string.sub(head, 10, 17), string.sub(head, 18)
  local row = read(number)
  if not row then
    place(target, level, old, nil)
    redis.call('ZREM', OPEN, target .. number)
    ghosts = ghosts + 1
    return
  end
  claims[#claims + 1] = number .. packed(row.next_ms)
  row.state, row.claim, row.attempts, row.next_ms = CLAIMED, token, row.attempts + 1, now_ms + lasts_ms
  place(target, level, old, place_of(number, row))
  found[#found + 1] = number
  found[#found + 1] = write(number, row)
  room[target] = (room[target] or limit) - 1
end

-- FIRST is in the order in which deliveries are to be claimed. A claim puts the next one of its target there, which
-- comes after it, so that one pass is enough. Targets without room are passed over, more at a time the more there are.
for level = 0, 2 do
  local after, last, step = '[' .. string.char(level), '(' .. string.char(level) .. packed(now_ms + 1), 1
  while #claims + ghosts <= limit do
    local heads = redis.call('ZRANGEBYLEX', FIRST, after, last, 'LIMIT', 0, step)
    if #heads == 0 then
      break
    end
    step = math.min(2 * step, 256)
    for _, head in ipairs(heads) do
      after = '(' .. head
      if (room[string.sub(head, 18)] or limit) > 0 then
        claim(head, level)
        step = 1
        break
      end
    end
  end
end
if #claims > 1 then
  redis.call('SET', KEYS[12], table.concat(claims), 'PX', ARGV[2])
end
found[1] = ghosts
return found
