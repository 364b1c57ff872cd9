-- Entries that bear more than their plain fields: the attributes of CloudEvents 1.0, the commit's trace context. Stands
-- in front of commit.lua, which adds each entry by `append`. What the plain format has stays as it is.
--
-- ARGV ends with two more: the source to name in CloudEvents, and the context as `traceparent`; '' leaves either out.

local traceparent = table.remove(ARGV)
local source = table.remove(ARGV)

local TYPE_PREFIX = 'app.archetypeai.' -- whose types these are: the domain of the lens API, reversed
local DIGITS = '%016d' -- as many as the greatest number has that Lua holds exactly, so that text sorts as numbers do

-- No text of CloudEvents may hold control characters or what Unicode calls noncharacters ("Type System" in its spec).
-- They are percent-encoded, and the percent sign as well: two texts stay two, and any library decodes them.
local FORBIDDEN = { '[%z\1-\31%%\127]', '\194[\128-\159]', '\239\183[\144-\175]', '\239\191[\190\191]',
  '[\240-\244][\143\159\175\191]\191[\190\191]' }

local function percent_encoded(found)
  return (string.gsub(found, '.', function(byte) return string.format('%%%02X', string.byte(byte)) end))
end

local function allowed(text)
  if not string.find(text, '[^ -$&-~]') then return text end -- ASCII that can be seen, but for the percent sign
  for _, pattern in ipairs(FORBIDDEN) do text = string.gsub(text, pattern, percent_encoded) end
  return text
end

local types = {}
local function type_of(id, type)
  local known = types[type]
  if not known then
    known = allowed(type)
    types[type] = known
  end
  -- A marker is the bridge's own: so its type alone tells it, since every event's has the prefix.
  if string.sub(type, 1, 7) == 'bridge.' and string.sub(id, 1, 7) == 'bridge-' then return known end
  return TYPE_PREFIX .. known
end

-- Unix seconds as RFC 3339 in UTC; what is none, in a dead letter that somebody changed, counts as 0. The calendar is
-- reckoned in years that begin with March, as Howard Hinnant's `civil_from_days` does it.
local last_stamp, last_time
local function time_of(stamp)
  if stamp == last_stamp then return last_time end
  local seconds, milliseconds = string.match(stamp, '^(%d+)%.(%d%d%d)$')
  if not seconds or #seconds > 11 then seconds, milliseconds = 0, '000' end -- 11 digits are year 5138
  local floor = math.floor
  local days = floor(seconds / 86400) + 719468
  local rest = seconds % 86400
  local era = floor(days / 146097)
  local day_of_era = days % 146097
  local year_of_era = floor(
    (day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) - floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
  local shifted = floor((5 * day_of_year + 2) / 153) -- months since March
  local month = shifted < 10 and shifted + 3 or shifted - 9
  last_stamp = stamp
  last_time = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%sZ', year_of_era + era * 400 + (month <= 2 and 1 or 0), month,
    day_of_year - floor((153 * shifted + 2) / 5) + 1, floor(rest / 3600), floor(rest / 60) % 60, rest % 60, milliseconds)
  return last_time
end

local traced = {}
if traceparent ~= '' then
  traced = source == '' and { 'traceparent', traceparent } or { 'traceparent', traceparent, 'ce_traceparent', traceparent }
end

-- The trace context, and what few entries have, behind all else.
local function rest(...)
  if select('#', ...) == 0 then return unpack(traced) end
  local all = { unpack(traced) }
  for _, one in ipairs({ ... }) do all[#all + 1] = one end
  return unpack(all)
end

-- The arguments are those of XADD as commit.lua gives them: each plain field with its value, and what few entries have.
local call = redis.pcall
local function append(_, key, auto, a, id, b, session_id, c, name, d, seq, e, type, f, data, g, received_at, ...)
  if source == '' then
    return call('XADD', key, auto, a, id, b, session_id, c, name, d, seq, e, type, f, data, g, received_at, rest(...))
  end
  return call('XADD', key, auto, a, id, b, session_id, c, name, d, seq, e, type, f, data, g, received_at,
    'ce_specversion', '1.0', 'ce_id', allowed(id), 'ce_source', source, 'ce_type', type_of(id, type),
    'ce_time', time_of(received_at), 'ce_subject', name, 'ce_datacontenttype', 'application/json',
    'ce_sequence', string.format(DIGITS, seq), rest(...))
end
