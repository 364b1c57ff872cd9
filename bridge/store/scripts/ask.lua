-- Ask for dead letters to be replayed: whoever holds the session, or takes it next, does it in a commit of its own.
--
-- KEYS  1 state
-- ARGV  1 'ask' for it, or 'withdraw' it  2 the letters, as JSON: [[entry id, key, type], …], with routes each
--       with the stream that it is to go to as well
-- Answers 'OK', 'NEW' where Redis has no place, or {'ASKED', letters} where other ones are asked for.

local asked = redis.call('HGET', KEYS[1], 'replay')
if ARGV[1] == 'withdraw' then
  if asked == ARGV[2] then redis.call('HDEL', KEYS[1], 'replay') end
  return 'OK'
end
if not redis.call('HGET', KEYS[1], 'seq') then return 'NEW' end
if asked and asked ~= ARGV[2] then return { 'ASKED', asked } end
redis.call('HSET', KEYS[1], 'replay', ARGV[2])
return 'OK'
