-- Take over one entry whose member has died, or that waits to be tried again.
--
-- One, never more: what is given for a second time may be what killed the first, and must not take others along.
-- XAUTOCLAIM alone would tell neither how often it was delivered nor, on Redis 6.2, which entry was trimmed.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  3 idle for so many milliseconds  4 where to go on in the list of what is pending
-- Answers {where to go on, entries trimmed away} and, where there is one, its id, fields, deliveries with this one.

local stream, group, member, idle, cursor = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local found = redis.pcall('XAUTOCLAIM', stream, group, member, idle, cursor, 'COUNT', '1', 'JUSTID')
if found.err then return redis.error_reply(found.err) end
local trimmed = #(found[3] or {})
local id = found[2][1]
if not id then return { found[1], trimmed } end

local entry = redis.call('XRANGE', stream, id, id)[1]
if not entry then -- it was trimmed while it was pending
  redis.call('XACK', stream, group, id)
  return { found[1], trimmed + 1 }
end
redis.call('XCLAIM', stream, group, member, '0', id) -- counts the delivery
local pending = redis.call('XPENDING', stream, group, id, id, '1')[1]
return { found[1], trimmed, id, entry[2], pending[4] }
