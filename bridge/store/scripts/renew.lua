-- Keep a lease. The token decides, not the lease key: it may have expired, or been lost, while nobody else came.
--
-- KEYS  1 lease  2 state
-- ARGV  1 owner  2 time to live (ms)  3 token
-- Answers the number of commits made so far, {'REPLAY', the same} where dead letters are asked for, {'FENCED', commits
-- when the other one took over, or so far where nobody did} or 'LOST' (Redis was emptied).

local state = redis.call('HMGET', KEYS[2], 'token', 'commits', 'owner', 'taken', 'renewals', 'replay')
local token = state[1]
if not token then return 'LOST' end
-- The owner is gone once we have released: a renewal that was on its way must not bring the lease back.
if token ~= ARGV[3] then return { 'FENCED', tonumber(state[4] or 0) or 0 } end
if state[3] ~= ARGV[1] then return { 'FENCED', tonumber(state[2] or 0) or 0 } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'renewals', (tonumber(state[5] or 0) or 0) + 1, 'lease_ms', ARGV[2]) -- the beat
local commits = tonumber(state[2] or 0)
return state[6] and { 'REPLAY', commits } or commits
