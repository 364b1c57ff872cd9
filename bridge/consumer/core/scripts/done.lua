-- Acknowledge entries that were worked on in order: those alone that no other member has taken over meanwhile.
--
-- XACK by itself would free the stream for a third member, while the one that took an entry over still works on it.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  then the ids
-- Answers the ids that are another member's.

local stream, group, member = KEYS[1], ARGV[1], ARGV[2]
local others = {}
for n = 3, #ARGV do
  local pending = redis.pcall('XPENDING', stream, group, ARGV[n], ARGV[n], '1')
  if pending.err then return redis.error_reply(pending.err) end
  if pending[1] and pending[1][2] ~= member then
    others[#others + 1] = ARGV[n]
  else
    redis.call('XACK', stream, group, ARGV[n])
  end
end
return others
