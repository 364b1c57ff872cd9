-- Trimming that leaves what consumer groups have not read. Stands in front of commit.lua, which calls `retain`.
--
-- A group has read what stands up to its last-delivered id and is not pending. Both are told by every server from 6.2 on;
-- the lag of newer ones is not asked for, since after deletions they do not know it.
--
-- All of it is done by whole nodes of the stream ('~'), as any trimming here: a little more is left, never less.

local AT_ONCE = 10000 -- entries that may go in one commit: some milliseconds in which Redis serves nobody else

-- Ids are two numbers of up to 20 digits, more than a number of Lua holds exactly: so by length, then as text.
local function is_before(one, other)
  local ms, count = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_count = string.match(other, '^(%d+)-(%d+)$')
  if ms == other_ms then ms, other_ms = count, other_count end
  return #ms < #other_ms or (#ms == #other_ms and ms < other_ms)
end

-- The id up to which all groups have read (it may go no further than there), and the end of a range of what they have
-- read; nil where there is no group. `first` is the id of the first entry: what is pending before it is gone already.
local function read_up_to(stream, first)
  local up_to, range_end
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for at = 1, #reply, 2 do group[reply[at]] = reply[at + 1] end
    local delivered = group['last-delivered-id']
    if not up_to or is_before(delivered, up_to) then up_to, range_end = delivered, delivered end
    if group.pending > 0 then
      local oldest = redis.call('XPENDING', stream, group.name, first, '+', 1)[1]
      if oldest and not is_before(up_to, oldest[1]) then up_to, range_end = oldest[1], '(' .. oldest[1] end
    end
  end
  return up_to, range_end
end

-- Trim to `max_length` entries and to those from the id `oldest` on, as far as all groups have read; to `cap` entries
-- at any rate. Each may be nil. Where no group is known nothing is known to be unread: `max_length` and `oldest` hold.
-- Answers how many entries were trimmed that a group had not read.
local function trim(stream, length, max_length, oldest, cap)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
  local up_to, range_end = read_up_to(stream, first)
  local gone = 0
  if max_length and length > max_length then
    local excess = math.min(length - max_length, AT_ONCE)
    gone = redis.call('XTRIM', stream, 'MINID', '~', up_to or '18446744073709551615', 'LIMIT', excess)
  end
  if oldest then
    if up_to and is_before(up_to, oldest) then oldest = up_to end
    gone = gone + redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', AT_ONCE)
  end
  local over = cap and length - gone - cap or 0
  if over <= 0 or gone >= AT_ONCE / 2 then return 0 end -- what is read goes first, as long as there is much of it
  local read = up_to and #redis.call('XRANGE', stream, '-', range_end, 'COUNT', over)
  local cut = redis.call('XTRIM', stream, 'MAXLEN', '~', cap, 'LIMIT', AT_ONCE)
  return up_to and math.max(0, cut - read) or 0
end

-- Whether this commit is the one in many that looks: the limits are about so much anyway, and asking costs as much as a
-- small commit. By length each tenth of the limit, at most a hundred entries; by age each twentieth of it.
local function is_due(length, added, limit, max_age_ms, now, before)
  local step = math.max(1, math.min(100, math.floor((limit or 1000) / 10)))
  local grown = math.floor(length / step) ~= math.floor((length - added) / step)
  if not max_age_ms then return grown and length > (limit or length) end
  local slot = max_age_ms / 20000 -- seconds
  return grown or math.floor(now / slot) ~= math.floor(before / slot)
end

-- The least id of an entry that is not too old, by the clock of Redis alone, as in commit.lua.
local function oldest_of(newest, max_age_ms)
  return string.format('%.0f-0', math.max(0, tonumber(string.match(newest, '^%d+')) - max_age_ms))
end

-- After a commit that added `added` entries, the last of them `newest`. `limits` has max_length, max_age_ms and cap, each
-- as a number or nil; `now` and `before` say when this commit and the one before it were (Unix seconds by the worker).
-- Answers how many unread entries the cap cut, or the words of an error: then what could not be looked at was left as it
-- was. It raises none itself, since the commit stands.
local function retain(stream, added, newest, limits, now, before)
  local _, answer = pcall(function()
    local length, max_age_ms = redis.call('XLEN', stream), limits.max_age_ms
    if not is_due(length, added, limits.max_length or limits.cap, max_age_ms, now, before or 0) then return 0 end
    return trim(stream, length, limits.max_length, max_age_ms and oldest_of(newest, max_age_ms), limits.cap)
  end)
  return type(answer) == 'table' and answer.err or answer
end

