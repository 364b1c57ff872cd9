-- What can be seen of sessions from outside, without touching anything.
--
-- KEYS  state, lease, state, lease, ...
-- Answers for each session {token, owner, seq, cursor, phase, updated_at, who has the lease}.

local found = {}
for at = 1, #KEYS, 2 do
  local row = redis.call('HMGET', KEYS[at], 'token', 'owner', 'seq', 'cursor', 'phase', 'updated_at')
  row[7] = redis.call('GET', KEYS[at + 1])
  found[#found + 1] = row
end
return found
