-- SPDX-License-Identifier: MIT
-- Accepts changes of instances.
-- KEYS: lease, done, slot, own, next, ev, then page and rows of each page.
-- ARGV: epoch, number of the call, '1' if no earlier call waits for its answer, ms that `done` lasts, cap of ev,
-- SEQ_EPOCH_MS, SEQ_PER_MS, msgpack of number and owner's mark of each page, msgpack of items: page by its place, index,
-- field of its name, entry, deadline of a loss or '', new deadline, row or '', how many changes, changes.
-- Returns a word for each item: `next` of its first change, or 0 if it has none; r: the entry is not this one; p: the page
-- is not ours; e: the deadline of the loss has not passed. The slot may have an older one: only its owner writes it.
local done = redis.call('GET', KEYS[2]) or ''
local _, at = done:find(';' .. ARGV[2] .. '=', 1, true)
if at then -- this call was executed before
    return done:sub(at + 1, done:find(';', at, true) - 1)
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lease'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('HGET', KEYS[5], 'seq') or 0)
last = math.max(last, (now - ARGV[6]) * ARGV[7] - 1)
-- Also the first write: if Redis refuses to write, nothing has happened.
redis.call('HSET', KEYS[5], 'seq', string.format('%.0f', last))
local before, pages, mine, found = last, cmsgpack.unpack(ARGV[8]), {}, {}
for i = 1, #pages, 2 do
    mine[#mine + 1] = redis.call('HGET', KEYS[4], pages[i]) == pages[i + 1]
end
local items = cmsgpack.unpack(ARGV[9])
local i, n = 1, 0
while i <= #items do
    local place, index, name, entry, loss = items[i], items[i + 1], items[i + 2], items[i + 3], items[i + 4]
    local deadline, row, n_changes, first_change = items[i + 5], items[i + 6], items[i + 7], i + 8
    local page, rows, at = KEYS[5 + 2 * place], KEYS[6 + 2 * place], index * 8
    i, n = first_change + n_changes, n + 1
    if not mine[place] then
        found[n] = 'p'
    elseif redis.call('HGET', KEYS[3], name) ~= entry then
        found[n] = 'r'
    elseif loss ~= '' and struct.unpack('>I8', loss) > now then
        found[n] = 'e'
    else
        found[n] = n_changes == 0 and '0' or string.format('%.0f', last + 1)
        for k = first_change, i - 1 do
            last = last + 1
            redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[5], string.format('%.0f-0', last), 'c', items[k])
        end
        redis.call('SETRANGE', page, at, deadline)
        local field = string.format('%.0f', index)
        if row == '' then
            redis.call('HDEL', rows, field)
            redis.call('HDEL', KEYS[3], name)
        else
            redis.call('HSET', rows, field, entry:sub(7, 14) .. row)
        end
    end
end
if last > before then
    redis.call('HSET', KEYS[5], 'seq', string.format('%.0f', last))
end
local words = table.concat(found, ',')
if ARGV[3] == '1' then
    redis.call('SET', KEYS[2], ';' .. ARGV[2] .. '=' .. words .. ';', 'PX', ARGV[4])
else
    redis.call('APPEND', KEYS[2], ';' .. ARGV[2] .. '=' .. words .. ';')
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return words
