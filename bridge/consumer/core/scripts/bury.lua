-- Move an entry that cannot be worked on to the dead letters of its group, and acknowledge it: both or neither.
--
-- KEYS  1 stream  2 dead letters
-- ARGV  1 group  2 member  3 id  then the fields that are added
-- Answers 1; 0 where it is another member's by now, or was trimmed.

local stream, dead, group, member, id = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]

local pending = redis.pcall('XPENDING', stream, group, id, id, '1', member)
if pending.err then return redis.error_reply(pending.err) end
if not pending[1] then return 0 end
local entry = redis.call('XRANGE', stream, id, id)[1]
if entry then
  local fields = entry[2]
  for n = 4, #ARGV do fields[#fields + 1] = ARGV[n] end
  local added = redis.pcall('XADD', dead, '*', unpack(fields))
  if type(added) == 'table' and added.err then return redis.error_reply(added.err) end
end
redis.call('XACK', stream, group, id)
return entry and 1 or 0
