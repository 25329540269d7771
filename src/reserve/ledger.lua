-- What the reader of a sale's ledger asks and says.
--
-- ARGV[1] when the sale was opened that it means, or '' to ask only; ARGV[2] up to which entry it has all for good; ARGV[3] how many entries may
-- be unread until no place is given (0: any number), or ''. Entries before the last that it has go; that one stays, so that the reader
-- finds its place again.
--
-- Returns when the sale was opened, the last entry, up to which entry they were read, the first that is in the stream or 0, whether entries are
-- written, the last place in line, and the clock; or '-CODE argument'.

local stream = head .. 'ledger' .. tail
local said, first = ARGV[1], 0

local function plan()
  if not read_sale('') then return '-NOSKU' end
  local entries = call('XRANGE', stream, '-', '+', 'COUNT', 1)
  if #entries == 0 and call('EXISTS', stream) == 0 then error(TRYAGAIN, 0) end
  if #entries > 0 then first = tonumber(string.match(entries[1][1], '^%d+')) end
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
if said ~= '' and tonumber(said) == s.opened and tonumber(ARGV[2]) <= s.entries then
  local upto, unread_max = math.max(s.entries_read, tonumber(ARGV[2])), tonumber(ARGV[3]) or s.unread_max
  -- Whole nodes of the stream only: that takes microseconds. Before all else, because a server without memory takes what needs some only behind
  -- another write, and it is these entries that fill it.
  if first > 0 and first < upto then call('XTRIM', stream, 'MINID', '~', format('%d-0', upto)) end
  if upto ~= s.entries_read or unread_max ~= s.unread_max then
    s.entries_read, s.unread_max = upto, unread_max
    write_sale()
  end
end
return { format('%d', s.opened), format('%d', s.entries), format('%d', s.entries_read), format('%d', first), tostring(s.ledger),
  format('%d', s.seq), now_text }
