-- What was said of sessions at run time, since it was looked at last. Where nothing was, that costs two short reads.
--
-- KEYS  1 records (hash: name -> JSON)  2 version: how many changes there were  3 the last of them, the newest first
-- ARGV  1 the version that is known, '' for none  2 how many records are known
-- Answers {version, 'same'}, {version, 'all', {name, record, ...}} or
--         {version, 'some', {change, ...} oldest first, {name, record or nil, ...}}.

local records, changes = KEYS[1], KEYS[3]
local version = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
local known, behind = tonumber(ARGV[1]), nil
if known then behind = version - known end
-- Somebody may write a record by hand, and say nothing of it.
local unsaid = redis.call('HLEN', records) ~= tonumber(ARGV[2])
if behind == 0 and not unsaid then return { version, 'same' } end
if not behind or behind <= 0 or behind > redis.call('LLEN', changes) then
  return { version, 'all', redis.call('HGETALL', records) }
end
local told, names, seen = {}, {}, {}
local list = redis.call('LRANGE', changes, 0, behind - 1)
for at = #list, 1, -1 do
  told[#told + 1] = list[at]
  local name = string.match(list[at], '^%S+ (%S+)')
  if name and not seen[name] then
    seen[name] = true
    names[#names + 1] = name
  end
end
local found = {}
for at, name in ipairs(names) do
  found[2 * at - 1] = name
  found[2 * at] = redis.call('HGET', records, name)
end
return { version, 'some', told, found }
