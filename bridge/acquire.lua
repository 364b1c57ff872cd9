-- Take the lease of a session, and with it a new fencing token: from here on whoever wrote before is fenced.
--
-- KEYS  1 lease  2 state  3 seen
-- ARGV  1 owner  2 time to live (ms)  3 random text  4 now (Unix seconds)
--       5 what to do where Redis has no place: 'begin', 'wait', or 'seed' it with what follows;
--         'window' sets up the blobs alone, where Redis has none of them
--       6 cursor  7 ordinal  8 seq  9 commits  10.. window blobs
-- Answers {'HELD', owner, milliseconds left}, {'NEW'} where it was told to wait, or
--         {'OK', token, cursor, ordinal, seq, commits, phase, window blobs, whether the place was set up}.

local lease, state, seen = KEYS[1], KEYS[2], KEYS[3]
local holder = redis.call('GET', lease)
if holder and holder ~= ARGV[1] then
  local left = redis.call('PTTL', lease)
  -- A lease that never expires was not written by us, or lost its TTL: it must not block the session for ever.
  if left >= 0 then return { 'HELD', holder, left } end
end

local found = redis.call('TYPE', seen).ok
if found ~= 'none' and found ~= 'list' then
  return redis.error_reply('WRONGTYPE ' .. seen .. ' is a ' .. found .. ', not a list')
end

local counter = redis.call('HGET', state, 'token')
if not counter and ARGV[5] == 'wait' then return { 'NEW' } end
-- A counter for people and random text for safety: after a failover a counter alone could come twice.
local token = string.format('%d-%s', (tonumber(string.match(counter or '', '^%d+') or 0)) + 1, ARGV[3])

redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
local seeded = 0
if ARGV[5] == 'seed' and redis.call('HEXISTS', state, 'seq') == 0 then -- nothing was ever committed under this state
  redis.call('DEL', seen)
  for at = 10, #ARGV do redis.call('RPUSH', seen, ARGV[at]) end
  redis.call('HSET', state, 'cursor', ARGV[6], 'ordinal', ARGV[7], 'seq', ARGV[8], 'commits', ARGV[9])
  seeded = 1
elseif ARGV[5] == 'window' and found == 'none' then
  for at = 10, #ARGV do redis.call('RPUSH', seen, ARGV[at]) end
end
redis.call('HSET', state, 'token', token, 'owner', ARGV[1], 'updated_at', ARGV[4])
redis.call('HSETNX', state, 'phase', 'active')
redis.call('HSETNX', state, 'commits', 0)

local place = redis.call('HMGET', state, 'cursor', 'ordinal', 'seq', 'commits', 'phase')
return { 'OK', token, place[1] or '', place[2] or '0', place[3] or '0', place[4], place[5],
  redis.call('LRANGE', seen, 0, -1), seeded }
