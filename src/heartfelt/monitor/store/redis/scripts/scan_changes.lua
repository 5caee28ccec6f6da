-- SPDX-License-Identifier: MIT
-- Looks at a slice of changes, the newest first.
-- KEYS: the stream. ARGV: the id to begin with, how many to look at, what those that match contain.
-- Returns how many it looked at, the id of the last one, then id and change of each that matches.
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])
local found, last = {#entries, ''}, ''
for _, entry in ipairs(entries) do
    last = entry[1]
    local change = entry[2][2]
    if string.find(change, ARGV[3], 1, true) then
        found[#found + 1] = last
        found[#found + 1] = change
    end
end
found[2] = last
return found
