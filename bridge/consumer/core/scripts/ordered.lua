-- The next entries of a stream that one member works on at a time.
--
-- There is no lock: whoever has the oldest entry that is not acknowledged works on the stream, and nobody else is given
-- anything. When its member has let it lie for too long, the next one who asks takes that entry, and so the stream.
--
-- KEYS  1 stream
-- ARGV  1 group  2 member  3 idle for so many milliseconds  4 how many
-- Answers {'BUSY', member} while another one works, {'EMPTY', id of the newest entry} where nothing is left,
-- {'NEW', entries}, {'AGAIN', id, fields, deliveries with this one} or {'TRIMMED'}: ask again.

local stream, group, member, idle, count = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local oldest = redis.pcall('XPENDING', stream, group, '-', '+', '1')
if oldest.err then return redis.error_reply(oldest.err) end
oldest = oldest[1]
if oldest then
  local id, owner, resting, deliveries = unpack(oldest)
  if owner ~= member and resting < idle then return { 'BUSY', owner } end
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then
    redis.call('XACK', stream, group, id)
    return { 'TRIMMED' }
  end
  redis.call('XCLAIM', stream, group, member, '0', id)
  return { 'AGAIN', id, entry[2], deliveries + 1 }
end

local read = redis.pcall('XREADGROUP', 'GROUP', group, member, 'COUNT', count, 'STREAMS', stream, '>')
if not read then
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')[1]
  return { 'EMPTY', newest and newest[1] or '0-0' }
end
if read.err then return redis.error_reply(read.err) end
return { 'NEW', read[1][2] }
