-- Give a lease back, if it is still ours, so that the next worker need not wait for it to expire.
--
-- KEYS  1 lease  2 state
-- ARGV  1 owner  2 token

if redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return 'FENCED' end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('HDEL', KEYS[2], 'owner')
return 'OK'
