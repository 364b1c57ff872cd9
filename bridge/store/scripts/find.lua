-- The entries of one session in a part of a stream, newest first. Told apart here, since a stream may hold a gigabyte of
-- other sessions' entries, and none of that should cross the network or a worker's memory.
--
-- KEYS  1 stream
-- ARGV  1 where to begin ('+' for the end)  2 how many entries to look at  3 session id
-- Answers {the session's entries, each {its id, fields and values}, id of the last entry looked at, how many were looked
-- at}.

local page = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])
local found = {}
for _, entry in ipairs(page) do
  local fields = entry[2]
  for at = 1, #fields, 2 do
    if fields[at] == 'session_id' and fields[at + 1] == ARGV[3] then
      found[#found + 1] = entry
      break
    end
  end
end
return { found, #page > 0 and page[#page][1] or '', #page }
