-- Say how many more sessions this worker could begin to read at once, and hear which ones were given to it.
--
-- KEYS  1 this worker's room  2 what was given to it
-- ARGV  1 how many it could begin to read now  2 how many it offered last  3 how many of those before were booked and
--       have not arrived  4 time to live (ms)
-- Answers {how many are booked and have not arrived, how many it offers now, the fingerprints that were given}.

local room, given = KEYS[1], KEYS[2]
local left = tonumber(redis.call('GET', room) or ARGV[2]) or 0
local arrived = redis.call('LRANGE', given, 0, -1)
if #arrived > 0 then redis.call('DEL', given) end

local booked = math.max(#arrived, tonumber(ARGV[3]) + tonumber(ARGV[2]) - left)
local offered = math.max(0, tonumber(ARGV[1]) - booked) -- those that arrive now take up room too
if offered > 0 then
  redis.call('SET', room, offered, 'PX', ARGV[4])
else
  redis.call('DEL', room)
end
return { booked - #arrived, offered, arrived }
