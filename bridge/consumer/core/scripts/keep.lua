-- A member that lives says so of the entries that it works on: nobody takes them for abandoned.
--
-- Only of those that are still its own: XCLAIM by itself would take back what others have taken over meanwhile.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  then the ids
-- Answers the ids that are nobody's any more, acknowledged or given up, and those that are another member's.

local stream, group, member = KEYS[1], ARGV[1], ARGV[2]
local gone, others = {}, {}
for n = 3, #ARGV do
  local id = ARGV[n]
  local pending = redis.pcall('XPENDING', stream, group, id, id, '1')
  if pending.err then return redis.error_reply(pending.err) end
  if not pending[1] then
    gone[#gone + 1] = id
  elseif pending[1][2] == member then
    redis.call('XCLAIM', stream, group, member, '0', id, 'JUSTID')
  else
    others[#others + 1] = id
  end
end
return { gone, others }
