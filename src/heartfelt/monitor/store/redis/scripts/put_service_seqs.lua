-- SPDX-License-Identifier: MIT
-- Adds to sorted sets of the seqs of changes, of which the highest are kept.
-- KEYS: the sets of some services. ARGV: ms that they last, most, then msgpack of what to add to each.
for i, key in ipairs(KEYS) do
    local words = {}
    for _, seq in ipairs(cmsgpack.unpack(ARGV[i + 2])) do
        words[#words + 1] = string.format('%.0f', seq)
        words[#words + 1] = words[#words]
    end
    redis.call('ZADD', key, unpack(words))
    redis.call('ZREMRANGEBYRANK', key, 0, -tonumber(ARGV[2]) - 1)
    redis.call('PEXPIRE', key, ARGV[1])
end
return 1
