-- A write to a place that changes nothing of it, for WAIT and WAITAOF to wait for: on a connection that has written
-- nothing yet they are content at once.
--
-- KEYS  1 state
-- ARGV  1 now
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'updated_at', ARGV[1]) end
return 1
