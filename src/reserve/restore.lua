-- Gives the holders of a sale back to an empty Redis, in steps that may be repeated.
--
-- ARGV[1] 'begin': ARGV[2..10] opened, the last entry of the ledger, limit, peruser, start, end, hold, holdersof, unread_max. The sale must not
--   exist, but for a restoration of the same that broke off. It is closed until the end.
-- ARGV[1] 'rows': six strings for each holding, in line: place, user, confirmed, held, end of the hold, when. Those that are there are passed over.
-- ARGV[1] 'end': ARGV[2] whether it is closed, ARGV[3] whether entries are written, ARGV[4] the last place in line that was ever given.
-- Returns 'ok', or '-CODE argument'.

local verb = ARGV[1]
local is_new = false

local function begin()
  local exists = read_sale('')
  if s.dropping == 1 then return '-DROPPING' end
  local restoring = call('HGET', sale, 'restoring')
  if exists and restoring ~= ARGV[2] then return '-EXISTS' end
  if exists then return 'ok' end
  for _, key in ipairs({ part('holders', 0), part('pages', 0), head .. 'due' .. tail, head .. 'ledger' .. tail }) do
    if call('EXISTS', key) == 1 then return '-EXISTS' end
  end
  is_new = true
  s.opened, s.entries, s.entries_read = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[3])
  s.limit, s.peruser, s.start, s.stop, s.hold = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]),
    tonumber(ARGV[8])
  s.holdersof, s.unread_max, s.closed, s.ledger = ARGV[9], tonumber(ARGV[10]), 1, 0
end

-- Every page up to a place in line exists, also one without a holder.
local function pages_up_to(seq)
  local last = math.floor(seq / PAGE)
  for index = math.floor(s.seq / PAGE) + 1, last do
    if not pages[index] then
      call('EXISTS', part('pages', index))
      pages[index] = {}
    end
  end
end

local function give_back(at)
  local seq = tonumber(ARGV[at])
  if seq <= s.seq then return end
  local h = load(ARGV[at + 1])
  if h.seq > 0 then error('ERR a user stands in line twice', 0) end
  pages_up_to(seq)
  s.seq, s.holders = seq, s.holders + 1
  h.seq, h.confirmed, h.held, h.time, h.changed = seq, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 5]), true
  page_of(seq)[seq] = h.user
  s.confirmed, s.held, s.taken = s.confirmed + h.confirmed, s.held + h.held, s.taken + h.confirmed + h.held
  if h.held > 0 then hold(h, tonumber(ARGV[at + 4])) end
end

local function plan()
  if verb == 'begin' then return begin() end
  if not read_sale('') then return '-NOSKU' end
  if call('HEXISTS', sale, 'restoring') == 0 then return verb == 'end' and 'ok' or '-EXISTS' end
  if verb == 'rows' then
    for at = 2, #ARGV, 6 do give_back(at) end
  else
    local last = tonumber(ARGV[4])
    pages_up_to(math.min(last, s.seq + 100 * PAGE))
    s.seq = math.max(s.seq, math.min(last, s.seq + 100 * PAGE))
    if s.seq < last then return end
    s.closed, s.ledger = tonumber(ARGV[2]), tonumber(ARGV[3])
  end
  plan_rest()
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
if is_new then
  write_sale('holdersof', s.holdersof, 'restoring', ARGV[2])
  call('HSET', part('holders', 0), '', '')
  call('HSET', part('pages', 0), '', '')
  call('ZADD', head .. 'due' .. tail, '+inf', '')
  call('XADD', head .. 'ledger' .. tail, 'MAXLEN', 0, s.entries > 0 and format('%d-0', s.entries) or '0-1', 'event', 'restored')
  return 'ok'
end
write_sale()
write_holdings()
if verb == 'end' and s.seq < tonumber(ARGV[4]) then return 'again' end
if verb == 'end' then call('HDEL', sale, 'restoring') end
return 'ok'
