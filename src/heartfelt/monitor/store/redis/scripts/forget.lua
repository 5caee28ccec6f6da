-- SPDX-License-Identifier: MIT
-- Forgets a removed instance.
-- KEYS: the runs of an instance, the shard's open runs, the seqs of its changes
if redis.call('EXISTS', KEYS[1], KEYS[3]) == 0 then return 0 end
local runs = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #runs, 2 do redis.call('HDEL', KEYS[2], string.format('%.0f', tonumber(runs[i]))) end
redis.call('UNLINK', KEYS[1], KEYS[3])
return 1
