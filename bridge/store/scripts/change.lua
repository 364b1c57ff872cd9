-- Change what is said of sessions at run time: all of it or nothing, and only what still stands as it was read.
--
-- KEYS  1 records (hash: name -> JSON)  2 version  3 the last changes
-- ARGV  1 how many changes to keep  2 how many records there are to change
--       3.. for each of those its name, the record that it must have now, the one it gets; '' is none
--       then the changes to tell, oldest first
-- Answers the names whose records have changed meanwhile; where there are any, nothing was done.

local records, version, changes = KEYS[1], KEYS[2], KEYS[3]
local last = 2 + 3 * tonumber(ARGV[2])
local stale = {}
for at = 3, last, 3 do
  if (redis.call('HGET', records, ARGV[at]) or '') ~= ARGV[at + 1] then stale[#stale + 1] = ARGV[at] end
end
if #stale > 0 then return stale end

local found = redis.call('TYPE', changes).ok
if found ~= 'none' and found ~= 'list' then
  return redis.error_reply('WRONGTYPE ' .. changes .. ' is a ' .. found .. ', not a list')
end
if redis.call('EXISTS', version) == 0 then
  -- It begins at the time: from 0, who knows the fifth change of a Redis that was emptied would take five new ones for it.
  local now = redis.call('TIME')
  redis.call('SET', version, string.format('%.0f', tonumber(now[1]) * 1000000 + tonumber(now[2])))
end
redis.call('INCRBY', version, #ARGV - last) -- first: who sees a change twice does no harm, who misses one does
for at = last + 1, #ARGV do redis.call('LPUSH', changes, ARGV[at]) end
redis.call('LTRIM', changes, 0, tonumber(ARGV[1]) - 1)
for at = 3, last, 3 do
  if ARGV[at + 2] == '' then
    redis.call('HDEL', records, ARGV[at])
  else
    redis.call('HSET', records, ARGV[at], ARGV[at + 2])
  end
end
return {}
