-- What was said of sessions at run time, since it was looked at last. Where nothing was, that costs two short reads.
--
-- KEYS  1 records (hash: name -> JSON)  2 version: how many changes there were  3 the last of them, the newest first
-- ARGV  1 the version that is known, '' for none  2 how many records are known  3 how many changes are kept
-- Answers {version, 'same'}, {version, 'all', {name, record, ...}, whether Redis was emptied and written anew since the
--         known version} or {version, 'some', {change, ...} oldest first, {name, record or nil, ...}}.

local records, changes = KEYS[1], KEYS[3]
local version = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
local known, kept, behind = tonumber(ARGV[1]), 0, nil
-- Somebody may write a record by hand, and say nothing of it.
local unsaid = redis.call('HLEN', records) ~= tonumber(ARGV[2])
if known and version ~= known then
  kept = redis.call('LLEN', changes)
  behind = version - known
  if known == 0 and kept < tonumber(ARGV[3]) then behind = kept end -- all that there ever were
elseif known then
  behind = 0
end
if behind == 0 and not unsaid then return { version, 'same' } end
if not behind or behind <= 0 or behind > kept then
  -- Versions begin at the time (see change.lua), so one that has leapt past all changes that are there began anew.
  local emptied = known and known > 0 and behind > kept and (kept < tonumber(ARGV[3]) or behind > 1e9)
  return { version, 'all', redis.call('HGETALL', records), emptied and 1 or 0 }
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
