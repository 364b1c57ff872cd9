-- Make the group. Where it was there before and is gone, go on where it stood, if this is still the stream that it read.
--
-- KEYS  1 stream
-- ARGV  1 group  2 where a new group begins  3 all before this was acknowledged, or ''
--       4 an entry that was read, or ''  5 its `id`  6 its `seq`
-- Answers where the group begins; false where somebody else has made it.

local stream, group, start, settled, witness, id, seq = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if settled ~= '' then
  start = '0' -- Redis was emptied: what stands there now has come since
  local found = redis.pcall('XRANGE', stream, witness, witness)
  if witness == '' then -- nothing was read yet: the entry behind which the group began has to stand there
    found = redis.pcall('XRANGE', stream, settled, settled)
    if not found.err and found[1] then start = settled end
  elseif not found.err and found[1] then
    local one = {}
    for n = 1, #found[1][2], 2 do one[found[1][2][n]] = found[1][2][n + 1] end
    if one.id == id and one.seq == seq then start = settled end
  end
elseif start == '$' then
  local newest = redis.pcall('XREVRANGE', stream, '+', '-', 'COUNT', '1')
  start = not newest.err and newest[1] and newest[1][1] or '0'
end
local made = redis.pcall('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
if made.err then
  if string.find(made.err, 'BUSYGROUP', 1, true) then return false end
  return redis.error_reply(made.err)
end
return start
