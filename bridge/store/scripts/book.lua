-- Book what other workers offer: each place is booked once, however many workers have sessions to give.
--
-- KEYS  their rooms
-- ARGV  1 how many sessions there are to give  2.. the most that each of them may get
-- Answers how many were booked with each.

local left, booked = tonumber(ARGV[1]), {}
for at, room in ipairs(KEYS) do
  local offered = tonumber(redis.call('GET', room) or 0) or 0
  local taken = math.max(0, math.min(left, offered, tonumber(ARGV[at + 1])))
  if taken > 0 then redis.call('SET', room, offered - taken, 'KEEPTTL') end
  left = left - taken
  booked[at] = taken
end
return booked
