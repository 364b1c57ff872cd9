-- What can be seen of a session by anybody, and how far the consumers of its stream have come. Writes nothing.
--
-- KEYS  1 stream  2 dead letters  3 state  4 lease  5.. the streams that some events are routed to
-- Answers {length of all streams, dead letters, who has the lease or nil, {seq, cursor, updated_at}, groups as XINFO tells
-- them, then the groups of each of the others}

local stream, dead, state, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local length, groups = redis.call('XLEN', stream), {}
if length > 0 then groups = redis.call('XINFO', 'GROUPS', stream) end -- of a key that is not there it is an error
local answer = {
  length, redis.call('XLEN', dead), redis.call('GET', lease), redis.call('HMGET', state, 'seq', 'cursor', 'updated_at'), groups
}
for n = 5, #KEYS do
  local more, theirs = redis.call('XLEN', KEYS[n]), {}
  if more > 0 then theirs = redis.call('XINFO', 'GROUPS', KEYS[n]) end
  answer[1], answer[#answer + 1] = answer[1] + more, theirs
end
return answer
