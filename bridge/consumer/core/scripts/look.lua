-- How a group stands: in one step, so that what is delivered and what is pending belong together.
--
-- KEYS  1 stream
-- ARGV  1 group
-- Answers {last delivered id, entries pending, oldest of them or '', lag or -1, newest entry's id or '', its seq or ''}.

local stream, group = KEYS[1], ARGV[1]
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then -- a stream that is gone has taken its groups along
  return redis.error_reply(string.find(groups.err, 'no such key', 1, true) and 'NOGROUP no such stream' or groups.err)
end
for _, flat in ipairs(groups) do
  local one = {}
  for n = 1, #flat, 2 do one[flat[n]] = flat[n + 1] end
  if one.name == group then
    local pending = redis.call('XPENDING', stream, group)
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')[1]
    local seq = ''
    for n = 1, newest and #newest[2] or 0, 2 do
      if newest[2][n] == 'seq' then seq = newest[2][n + 1] end
    end
    return { one['last-delivered-id'], pending[1], pending[2] or '', one.lag or -1, newest and newest[1] or '', seq }
  end
end
return redis.error_reply('NOGROUP no such group')
