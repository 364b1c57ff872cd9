-- Give a lease back, if it is still ours, so that the next worker need not wait for it to expire; or leave it to one
-- worker, who takes it by acquiring it as everybody does.
--
-- KEYS  1 lease  2 state
-- ARGV  1 owner  2 token  3 the worker that it is left to, '' for none  4 how long it is kept for that one (ms)

if redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return 'FENCED' end
local holder = redis.call('GET', KEYS[1])
if ARGV[3] ~= '' and (not holder or holder == ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
elseif holder == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
redis.call('HDEL', KEYS[2], 'owner')
return 'OK'
