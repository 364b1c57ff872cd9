-- A member that lives says so of the entries that it works on: nobody takes them for abandoned.
--
-- Only of those that are still its own: XCLAIM by itself would take back what others have taken over meanwhile.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  then the ids
-- Answers the ids that are not its own any more.

local stream, group, member = KEYS[1], ARGV[1], ARGV[2]
local lost = {}
for n = 3, #ARGV do
  local id = ARGV[n]
  local pending = redis.pcall('XPENDING', stream, group, id, id, '1', member)
  if pending.err then return redis.error_reply(pending.err) end
  if pending[1] then
    redis.call('XCLAIM', stream, group, member, '0', id, 'JUSTID')
  else
    lost[#lost + 1] = id
  end
end
return lost
