-- Say that this worker lives, forget those that have not said so for too long; tell how many there are, and whether
-- this one was not among them.
--
-- KEYS  1 workers (sorted set: worker -> Unix time at which it counts as dead, by Redis's own clock)
-- ARGV  1 worker  2 time to live (s); 0 signs off

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local added = 0
if tonumber(ARGV[2]) > 0 then
  added = redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return { redis.call('ZCARD', KEYS[1]), added }
