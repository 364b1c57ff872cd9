-- Acknowledge entries that were worked on in order: those alone that no other member has taken over meanwhile.
--
-- XACK by itself would free the stream for a third member, while the one that took an entry over still works on it.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  then the ids
-- Answers the ids that are another member's.

local stream, group, member = KEYS[1], ARGV[1], ARGV[2]
local mine, others = {}, {}
for n = 3, #ARGV do
  local pending = redis.pcall('XPENDING', stream, group, ARGV[n], ARGV[n], '1')
  if pending.err then return redis.error_reply(pending.err) end
  local ids = pending[1] and pending[1][2] ~= member and others or mine
  ids[#ids + 1] = ARGV[n]
end
if #mine > 0 then redis.call('XACK', stream, group, unpack(mine)) end
return others
