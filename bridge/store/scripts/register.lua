-- Say that this worker lives and which sessions it wants; tell what the register knows of the others.
--
-- Who is dead is said by no clock here: each worker watches by its own whether the others' records still change.
--
-- KEYS  1 workers (sorted set: record -> Unix time until which it is fresh, by Redis's own clock)
--       2 this worker's list of wishes
-- ARGV  1 worker  2 the rest of its record: digest of its wishes, leases given back so far, time to live (ms)
--       3 time to live (ms); 0 signs off  4.. records to remove: of workers that have not been heard of for long
-- Answers {seconds, microseconds, whether this worker was known, whether its list of wishes stands,
--          {record, score, whether it is fresh, ...}} of all others. A record begins with the worker and a space.

local workers, wishes = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local ttl_ms = tonumber(ARGV[3])
local own, record = ARGV[1] .. ' ', ARGV[1] .. ' ' .. ARGV[2]

for at = 4, #ARGV do redis.call('ZREM', workers, ARGV[at]) end

local known, others = 0, {}
local found = redis.call('ZRANGE', workers, 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  local other, score = found[at], tonumber(found[at + 1])
  if string.sub(other, 1, #own) == own then
    known = 1
    if other ~= record then redis.call('ZREM', workers, other) end
  else
    -- One that is fresh for longer than it says of itself was written under another clock, or by somebody else.
    local life = tonumber(string.match(other, ' (%d+)$') or 0) / 1000
    local fresh = score > now and score <= now + life + 1
    for _, part in ipairs({ other, found[at + 1], fresh and 1 or 0 }) do others[#others + 1] = part end
  end
end

local listed = 1
if ttl_ms > 0 then
  redis.call('ZADD', workers, now + ttl_ms / 1000, record)
  listed = redis.call('PEXPIRE', wishes, ttl_ms)
end
return { tonumber(time[1]), tonumber(time[2]), known, listed, others }
