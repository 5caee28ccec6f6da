-- SPDX-License-Identifier: MIT
-- Adds to lists of the seqs of changes.
-- KEYS: the lists of some instances. ARGV: ms that they last, most, then msgpack of what to add to each.
for i, key in ipairs(KEYS) do
    redis.call('RPUSH', key, unpack(cmsgpack.unpack(ARGV[i + 2])))
    redis.call('LTRIM', key, -tonumber(ARGV[2]), -1)
    redis.call('PEXPIRE', key, ARGV[1])
end
return 1
