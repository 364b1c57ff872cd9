-- One commit: append a batch of events and move the place past them, in one step or not at all.
--
-- Commits of a session are a chain: each carries a mark of its own and names the number and the mark of the one that it
-- follows. So it lands behind that one or not at all, however late, often or out of turn its bytes arrive.
--
-- KEYS  1 stream  2 state  3 seen  4 dead letters  5.. the streams that some events are routed to instead
-- ARGV  as unpacked below, then the records:
--         'k' targets                               first of all, where events are routed: for each 'r', 'e' and 'n' that
--                                                   follows the stream it goes to, as one digit: 1, or 2 for KEYS[5], …
--         'r' count received_at type, then count times: id data              events named `message`, of one chunk
--         'r' count received_at '', then count times: id type data           such events of several types
--         'e' id type data received_at              such an event by itself
--         'n' id type data received_at event        an event with another name
--         'm' id type data received_at skip         a marker: it takes no number, but may skip some
--         's' skip                                  the same without an entry, where markers are turned off
--         'f'                                       an event that was filtered out: the place moves on
--         'd' id type data received_at event reason detail truncated    a dead letter
--         'l'                                       the dead letters that `replay` in the state names become entries
-- Markers go to each of the streams: whoever reads one of them has to learn of a gap. `stream length` is that of all.
-- Answers {'OK', seq, stream length}, {'ALREADY', seq, stream length, mark of the commit that landed}, {'FENCED', commits
-- when the other one took over}, {'ROLLED_BACK', commits, mark of the last of them, seq, stream length} or {'LOST'}; an
-- error when Redis refuses a write, and then nothing has changed. Where several commits were under way, the mark in
-- 'ROLLED_BACK' may be that of one behind this: then both have landed, and nothing was rolled back. Behind 'OK' stands
-- what `retain` has to tell, if anything.

local stream, state, seen, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, expected, follows, mark, session_id, name, cursor, ordinal, phase, now, max_length, max_age_ms, unread_cap,
  max_letters, blob, keep_blobs = unpack(ARGV, 1, 16) -- '' is none; 0 keeps all blobs, and all that is unread
expected = tonumber(expected)

-- `stream` is the one that the next entry goes to, `entries` what was added there; they change where events are routed.
local entries = {}
local streams, added_to = { stream }, { entries }
for n = 5, #KEYS do streams[n - 3], added_to[n - 3] = KEYS[n], {} end

local stands = redis.call('HMGET', state, 'token', 'commits', 'mark', 'seq', 'taken', 'letters', 'updated_at', 'streams')
if not stands[1] then
  if expected > 0 then return { 'LOST' } end
  return { 'FENCED', 0 }
end
if stands[1] ~= token then return { 'FENCED', tonumber(stands[5] or 0) or 0 } end
if expected > 0 and not stands[4] then return { 'LOST' } end -- numbers must not begin anew
local commits, seq = tonumber(stands[2] or 0), tonumber(stands[4] or 0)
if not commits or not seq then
  return redis.error_reply('DAMAGED ' .. state .. ' holds a commits or seq that is no number')
end
local last_mark = stands[3] or ''
if commits ~= expected or last_mark ~= follows then
  local length = 0
  for n = 1, #streams do length = length + redis.call('XLEN', streams[n]) end
  if commits == expected + 1 then return { 'ALREADY', seq, length, last_mark } end
  return { 'ROLLED_BACK', commits, last_mark, seq, length }
end

-- A script is atomic but not transactional: an error midway leaves the writes before it. So look before the first one.
-- A length tells of a type as well, and quicker than TYPE. Of the window that is told by the first write itself.
local function wrong(reply, key, wanted)
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then return reply end
  return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. redis.call('TYPE', key).ok .. ', not a ' .. wanted)
end
local length, letters_length = redis.pcall('XLEN', stream), redis.pcall('XLEN', dead)
if type(length) == 'table' then return wrong(length, stream, 'stream') end
if type(letters_length) == 'table' then return wrong(letters_length, dead, 'stream') end
for n = 2, #streams do
  local more = redis.pcall('XLEN', streams[n])
  if type(more) == 'table' then return wrong(more, streams[n], 'stream') end
  length = length + more
end

local letters, pushed, filtered, began = {}, false, 0, seq
local replayed, contents, removed -- letters to replay: their ids, their fields, whether they are removed

-- Redis may still refuse midway (a stream at its last possible id, a permission taken away): undo, then say so.
local function refuse(reply)
  for n, ids in ipairs(added_to) do
    if #ids > 0 then redis.pcall('XDEL', streams[n], unpack(ids)) end
  end
  if #letters > 0 then redis.pcall('XDEL', dead, unpack(letters)) end
  if pushed then redis.pcall('RPOP', seen) end
  for _, fields in ipairs(removed and contents or {}) do redis.pcall('XADD', dead, '*', unpack(fields)) end
  return reply
end

if blob ~= '' then
  local reply = redis.pcall('RPUSH', seen, blob)
  if type(reply) == 'table' then return wrong(reply, seen, 'list') end
  pushed = true
end

-- Entries go through `append`, which stands in front: of redis.pcall, or of extended.lua, where they bear more than this.
local argv, call = ARGV, append -- locals are faster, and this loop runs once per event
local at, last = 17, #argv
local turn -- to the stream that the next event goes to
if argv[at] == 'k' then
  local targets, nth, byte = argv[at + 1], 0, string.byte
  at = at + 2
  turn = function()
    nth = nth + 1
    local target = byte(targets, nth) - 48 -- a digit, or what follows the digits in ASCII
    stream, entries = streams[target], added_to[target]
  end
end
while at <= last do
  local kind = argv[at]
  local added
  if kind == 'r' then
    local stamp, shared = argv[at + 2], argv[at + 3]
    local step = shared == '' and 3 or 2
    local past = at + 3 + step * argv[at + 1]
    at = at + 4
    while at <= past do
      seq = seq + 1
      if turn then turn() end
      added = call('XADD', stream, '*', 'id', argv[at], 'session_id', session_id, 'name', name, 'seq', seq,
        'type', step == 2 and shared or argv[at + 1], 'data', argv[at + step - 1], 'received_at', stamp)
      if type(added) == 'table' then break end
      entries[#entries + 1] = added
      at = at + step
    end
    if type(added) ~= 'table' then added = nil end
  elseif kind == 'e' then
    seq = seq + 1
    if turn then turn() end
    added = call('XADD', stream, '*', 'id', argv[at + 1], 'session_id', session_id, 'name', name, 'seq', seq,
      'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4])
    at = at + 5
  elseif kind == 'n' then
    seq = seq + 1
    if turn then turn() end
    added = call('XADD', stream, '*', 'id', argv[at + 1], 'session_id', session_id, 'name', name, 'seq', seq,
      'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4], 'event', argv[at + 5])
    at = at + 6
  elseif kind == 'm' then
    for n = #streams, 1, -1 do
      stream, entries = streams[n], added_to[n]
      added = call('XADD', stream, '*', 'id', argv[at + 1], 'session_id', session_id, 'name', name, 'seq', seq,
        'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4])
      if type(added) == 'table' then break end
      entries[#entries + 1] = added
    end
    if type(added) ~= 'table' then added = nil end
    seq = seq + tonumber(argv[at + 5])
    at = at + 6
  elseif kind == 's' then
    seq = seq + tonumber(argv[at + 1])
    at = at + 2
  elseif kind == 'f' then
    filtered = filtered + 1
    at = at + 1
  elseif kind == 'l' then
    -- Each becomes an entry behind all others, told by the id that it had there, and leaves the dead letters below. One
    -- that is not there was published before, or purged; after a rollback another one may bear its entry id.
    replayed, contents = {}, {}
    local read, list = pcall(cjson.decode, redis.call('HGET', state, 'replay') or '[]')
    for _, one in ipairs(read and type(list) == 'table' and list or {}) do
      one = type(one) == 'table' and one or {}
      local id, key, letter = tostring(one[1]), tostring(one[2]), {}
      local found = redis.pcall('XREVRANGE', dead, id, id)
      local fields = found[1] and found[1][2] or {}
      for n = 1, #fields, 2 do letter[fields[n]] = fields[n + 1] end
      local same = letter.id and letter.data and string.sub(key, -#letter.id) == letter.id
      if same and letter.session_id == session_id and letter.truncated == '0' then
        seq = seq + 1
        local entry = { 'id', key, 'session_id', session_id, 'name', letter.name or name, 'seq', seq,
          'type', tostring(one[3]), 'data', letter.data, 'received_at', letter.received_at or now, 'dead_letter', id }
        if letter.event and letter.event ~= '' and letter.event ~= 'message' then
          entry[#entry + 1], entry[#entry + 2] = 'event', letter.event
        end
        for n = #streams, 1, -1 do -- the one that is asked for, if it is one of this session's
          stream, entries = streams[n], added_to[n]
          if stream == one[4] then break end
        end
        added = call('XADD', stream, '*', unpack(entry))
        if type(added) == 'table' then break end
        entries[#entries + 1], replayed[#replayed + 1], contents[#contents + 1] = added, id, fields
      end
    end
    if type(added) ~= 'table' then added = nil end
    at = at + 1
  else
    added = redis.pcall('XADD', dead, '*', 'id', argv[at + 1], 'session_id', session_id, 'name', name,
      'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4], 'event', argv[at + 5],
      'reason', argv[at + 6], 'detail', argv[at + 7], 'truncated', argv[at + 8])
    at = at + 9
  end
  if type(added) == 'table' then return refuse(added) end
  if kind == 'd' then letters[#letters + 1] = added elseif added then entries[#entries + 1] = added end
end

if replayed and #replayed > 0 then
  local reply = redis.pcall('XDEL', dead, unpack(replayed))
  if type(reply) == 'table' then return refuse(reply) end
  removed = true
end

local written = redis.pcall('HSET', state, 'cursor', cursor, 'seq', seq, 'ordinal', ordinal,
  'commits', expected + 1, 'mark', mark, 'phase', phase, 'updated_at', now)
if type(written) == 'table' then return refuse(written) end

if stands[8] or #streams > 1 then
  -- Which streams hold entries of this session, or may: for those who read them back, also when a route is taken away.
  -- `routed` tells since which number each but the first has been among them without a break; -1: it no longer is.
  local names = table.concat(streams, '\n')
  if names ~= stands[8] then
    local read, routed = pcall(cjson.decode, redis.call('HGET', state, 'routed') or '{}')
    local before = read and type(routed) == 'table' and routed or {}
    routed = {}
    for key in pairs(before) do routed[key] = -1 end
    if stands[8] then routed[string.match(stands[8], '^[^\n]*')] = -1 end
    routed[streams[1]] = nil
    for n = 2, #streams do
      local since = tonumber(before[streams[n]])
      routed[streams[n]] = since and since >= 0 and since or began
    end
    redis.pcall('HSET', state, 'streams', names, 'routed', cjson.encode(routed))
  end
end

-- From here on the commit stands. Trimming comes after it, and may fail without harm: the next commit trims again.
if keep_blobs ~= '0' then redis.pcall('LTRIM', seen, '-' .. keep_blobs, -1) end
local told = 0
for n = 1, #streams do
  stream, entries = streams[n], added_to[n]
  if unread_cap ~= '' then
    if #entries > 0 then
      local limits = { max_length = tonumber(max_length), max_age_ms = tonumber(max_age_ms), cap = tonumber(unread_cap) }
      if limits.cap == 0 then limits.cap = nil end
      -- It is of retention.lua, which stands in front of this where there is an unread_cap.
      local cut = retain(stream, #entries, entries[#entries], limits, tonumber(now), tonumber(stands[7]))
      if type(cut) == 'string' or type(told) == 'string' then
        told = type(told) == 'string' and told or cut
      else
        told = told + cut
      end
    end
  else
    if max_length ~= '' and (n == 1 or #entries > 0) then redis.pcall('XTRIM', stream, 'MAXLEN', '~', max_length) end
    if max_age_ms ~= '' and #entries > 0 then
      -- An entry's age is told by the newest entry's id: one clock, that of Redis, has written both.
      local newest = tonumber(string.match(entries[#entries], '^%d+'))
      redis.pcall('XTRIM', stream, 'MINID', '~', string.format('%.0f', math.max(0, newest - tonumber(max_age_ms))))
    end
  end
  length = length + #entries
end
if #letters > 0 or removed then
  -- As `seq` counts events: to tell whether the window is whole.
  local left = (tonumber(stands[6] or 0) or 0) + #letters - (replayed and #replayed or 0)
  redis.pcall('HSET', state, 'letters', math.max(0, left))
end
if #letters > 0 then redis.pcall('XTRIM', dead, 'MAXLEN', '~', max_letters) end
if filtered > 0 then -- for who judges: the place may stand behind more than entries and letters
  redis.pcall('HSET', state, 'filtered', (tonumber(redis.call('HGET', state, 'filtered') or 0) or 0) + filtered)
end
if replayed then redis.pcall('HDEL', state, 'replay') end
if max_length ~= '' or max_age_ms ~= '' or unread_cap ~= '' then
  length = 0
  for n = 1, #streams do length = length + redis.call('XLEN', streams[n]) end
end
return { 'OK', seq, length, told ~= 0 and told or nil }
