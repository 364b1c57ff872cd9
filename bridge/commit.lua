-- One commit: append a batch of events and move the place past them, in one step or not at all.
--
-- KEYS  1 stream  2 state  3 seen  4 dead letters
-- ARGV  1 token  2 expected commits  3 session id  4 cursor ('' for none)  5 ordinal  6 phase  7 now (Unix seconds)
--       8 max length ('' for none)  9 lowest entry id to keep ('' for none)  10 most dead letters
--       11 window blob ('' for none)  12 window blobs to keep (0 for all)  13.. the records:
--         'e' id type data received_at              an event named `message`
--         'n' id type data received_at event        an event with another name
--         'd' id type data received_at event reason detail truncated    a dead letter
-- Answers {'OK' | 'ALREADY', seq, stream length}, {'FENCED'}, {'ROLLED_BACK', commits} or {'LOST'}; an error when Redis
-- refuses a write, and then nothing has changed.

local stream, state, seen, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now = redis.call('HMGET', state, 'token', 'commits', 'seq')
local expected = tonumber(ARGV[2])
local commits, seq = tonumber(now[2] or 0), tonumber(now[3] or 0)

if not now[1] then
  if expected > 0 then return { 'LOST' } end
  return { 'FENCED' }
end
if now[1] ~= ARGV[1] then return { 'FENCED' } end
if not commits or not seq then
  return redis.error_reply('DAMAGED ' .. state .. ' holds a commits or seq that is no number')
end
if commits == expected + 1 then return { 'ALREADY', seq, redis.call('XLEN', stream) } end
if commits ~= expected then return { 'ROLLED_BACK', commits } end

-- A script is atomic but not transactional: an error midway leaves the writes before it. So look before the first one.
local types = { [stream] = 'stream', [dead] = 'stream', [seen] = 'list' }
for key, wanted in pairs(types) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
  end
end

local entries, letters, pushed = {}, {}, false

-- Redis may still refuse midway (a stream at its last possible id, a permission taken away): undo, then say so.
local function refuse(reply)
  if #entries > 0 then redis.pcall('XDEL', stream, unpack(entries)) end
  if #letters > 0 then redis.pcall('XDEL', dead, unpack(letters)) end
  if pushed then redis.pcall('RPOP', seen) end
  return reply
end

local argv, call = ARGV, redis.pcall -- locals are faster, and this loop runs once per event
local session_id = argv[3]
local at, last = 13, #argv
while at <= last do
  local kind = argv[at]
  local added
  if kind == 'e' then
    seq = seq + 1
    added = call('XADD', stream, '*', 'id', argv[at + 1], 'session_id', session_id, 'seq', seq,
      'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4])
    at = at + 5
  elseif kind == 'n' then
    seq = seq + 1
    added = call('XADD', stream, '*', 'id', argv[at + 1], 'session_id', session_id, 'seq', seq,
      'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4], 'event', argv[at + 5])
    at = at + 6
  else
    added = call('XADD', dead, '*', 'id', argv[at + 1], 'session_id', session_id,
      'type', argv[at + 2], 'data', argv[at + 3], 'received_at', argv[at + 4], 'event', argv[at + 5],
      'reason', argv[at + 6], 'detail', argv[at + 7], 'truncated', argv[at + 8])
    at = at + 9
  end
  if type(added) == 'table' then return refuse(added) end
  if kind == 'd' then letters[#letters + 1] = added else entries[#entries + 1] = added end
end

if ARGV[11] ~= '' then
  local reply = redis.pcall('RPUSH', seen, ARGV[11])
  if type(reply) == 'table' then return refuse(reply) end
  pushed = true
end

local written = redis.pcall('HSET', state, 'cursor', ARGV[4], 'seq', seq, 'ordinal', ARGV[5],
  'commits', expected + 1, 'phase', ARGV[6], 'updated_at', ARGV[7])
if type(written) == 'table' then return refuse(written) end

-- From here on the commit stands. Trimming comes after it, and may fail without harm: the next commit trims again.
if ARGV[12] ~= '0' then redis.pcall('LTRIM', seen, '-' .. ARGV[12], -1) end
if ARGV[8] ~= '' then redis.pcall('XTRIM', stream, 'MAXLEN', '~', ARGV[8]) end
if ARGV[9] ~= '' then redis.pcall('XTRIM', stream, 'MINID', '~', ARGV[9]) end
if #letters > 0 then redis.pcall('XTRIM', dead, 'MAXLEN', '~', ARGV[10]) end
return { 'OK', seq, redis.call('XLEN', stream) }
