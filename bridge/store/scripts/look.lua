-- What can be seen of a session by anybody, and how far the consumers of its stream have come. Writes nothing.
--
-- KEYS  1 stream  2 dead letters  3 state  4 lease
-- Answers {stream length, dead letters, who has the lease or nil, {seq, cursor, updated_at}, groups as XINFO tells them}

local stream, dead, state, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local length, groups = redis.call('XLEN', stream), {}
if length > 0 then groups = redis.call('XINFO', 'GROUPS', stream) end -- of a key that is not there it is an error
return {
  length, redis.call('XLEN', dead), redis.call('GET', lease), redis.call('HMGET', state, 'seq', 'cursor', 'updated_at'), groups
}
