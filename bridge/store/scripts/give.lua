-- Tell a worker that a session's lease was left to it.
--
-- KEYS  1 what was given to it
-- ARGV  1 the session's fingerprint  2 time to live (ms)

redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'OK'
