-- Give entries back, so that they can be claimed after a while or at once; and leave the group where nothing is left.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  3 as if idle for so many milliseconds  4 '1' to leave, then id and deliveries of each
-- Answers how many were given back.

local stream, group, member, idle, leave = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local given = 0
for n = 5, #ARGV, 2 do
  local pending = redis.pcall('XPENDING', stream, group, ARGV[n], ARGV[n], '1', member)
  if pending.err then return redis.error_reply(pending.err) end
  if pending[1] then
    redis.call('XCLAIM', stream, group, member, '0', ARGV[n], 'IDLE', idle, 'RETRYCOUNT', ARGV[n + 1], 'JUSTID')
    given = given + 1
  end
end
if leave == '1' then
  -- XGROUP DELCONSUMER takes along what is pending, so only those who have nothing: this one, and who died long ago.
  local members = redis.pcall('XINFO', 'CONSUMERS', stream, group)
  for _, flat in ipairs(members.err and {} or members) do
    local one = {}
    for n = 1, #flat, 2 do one[flat[n]] = flat[n + 1] end
    if one.pending == 0 and (one.name == member or one.idle > 86400000) then
      redis.pcall('XGROUP', 'DELCONSUMER', stream, group, one.name)
    end
  end
end
return given
