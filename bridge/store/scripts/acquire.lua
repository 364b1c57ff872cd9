-- Take the lease of a session, and with it a new fencing token: from here on whoever wrote before is fenced.
--
-- The lease key is a hint: Redis may evict it, and its clock may jump. Whoever has not released is held to read on while
-- its beat changes, and the one who asks watches that by its own clock.
--
-- KEYS  1 lease  2 state  3 seen
-- ARGV  1 owner  2 time to live (ms)  3 random text  4 now (Unix seconds)
--       5 the beat of a holder that may be taken over, '' for none
--       6 what to do where Redis has no place: 'begin', 'wait', or 'seed' it with what follows;
--         'window' sets up the blobs alone, in the place of those that Redis has
--       7 the token under which these were found, '' for whatever token: where Redis has another one it has gone back
--         since, and what was found may be of entries that are gone
--       8 cursor  9 ordinal  10 seq  11 commits  12.. window blobs
-- Answers {'HELD', owner, milliseconds left, beat, whether the lease key is gone}, {'NEW'} where it was told to wait or
--         has gone back, or {'OK', token, cursor, ordinal, seq, commits, phase, mark, window blobs, whether the place was
--         set up, dead letters so far}.

local lease, state, seen = KEYS[1], KEYS[2], KEYS[3]
local owner, ttl_ms, mode = ARGV[1], tonumber(ARGV[2]), ARGV[6]

local stands = redis.call('HMGET', state, 'token', 'owner', 'renewals', 'commits', 'lease_ms')
local counter = stands[1]
local beat = table.concat({ counter or '', stands[3] or 0, stands[4] or 0 }, ':')
local key_of = redis.call('GET', lease)
local left = key_of and redis.call('PTTL', lease) or -1
local lapsed = left < 0 -- one that never expires was not written by us, or lost its time to live
local holder = not lapsed and key_of or stands[2]
if holder and holder ~= owner and beat ~= ARGV[5] then
  local life = tonumber(stands[5] or ARGV[2]) or ttl_ms
  return { 'HELD', holder, lapsed and life or math.min(left, life), beat, lapsed and 1 or 0 }
end

local found = redis.call('TYPE', seen).ok
if found ~= 'none' and found ~= 'list' then
  return redis.error_reply('WRONGTYPE ' .. seen .. ' is a ' .. found .. ', not a list')
end

if not counter and mode == 'wait' then return { 'NEW' } end
if ARGV[7] and ARGV[7] ~= '' and ARGV[7] ~= counter then return { 'NEW' } end
-- A counter for people and random text for safety: after a failover a counter alone could come twice.
local token = string.format('%d-%s', (tonumber(string.match(counter or '', '^%d+') or 0)) + 1, ARGV[3])

redis.call('SET', lease, owner, 'PX', ttl_ms)
local seeded = 0
-- A commit writes all three: where one is missing nothing was ever committed, or a part of the place was lost.
local stood = redis.call('HMGET', state, 'cursor', 'ordinal', 'seq')
local whole = stood[1] and stood[2] and stood[3]
if mode == 'seed' and not whole then
  redis.call('DEL', seen)
  for at = 12, #ARGV do redis.call('RPUSH', seen, ARGV[at]) end
  -- One commit at least: behind none, a place that is lost again would pass for one that never was.
  redis.call('HSET', state, 'cursor', ARGV[8], 'ordinal', ARGV[9], 'seq', ARGV[10],
    'commits', math.max(1, tonumber(ARGV[11])))
  seeded, whole = 1, true
elseif mode == 'window' then
  redis.call('DEL', seen)
  for at = 12, #ARGV do redis.call('RPUSH', seen, ARGV[at]) end
end
redis.call('HSET', state, 'token', token, 'owner', owner, 'lease_ms', ttl_ms, 'renewals', 0, 'updated_at', ARGV[4])
redis.call('HSETNX', state, 'phase', 'active')
redis.call('HSETNX', state, 'commits', 0)

local place = redis.call('HMGET', state, 'cursor', 'ordinal', 'seq', 'commits', 'phase', 'mark')
redis.call('HSET', state, 'taken', place[4]) -- tells whoever is fenced whether its last commits still stood
if not whole then place[1], place[2], place[3] = '', '0', '0' end
return { 'OK', token, place[1], place[2], place[3], place[4], place[5], place[6] or '',
  redis.call('LRANGE', seen, 0, -1), seeded, tonumber(redis.call('HGET', state, 'letters') or 0) or 0 }
