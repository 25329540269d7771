-- The hot script: a flush of operations on holdings of one sale, in order, at most once per token.
--
-- ARGV[1] the gateway, ARGV[2] the flush's sequence, or '' where it only reads. Then three arguments for each operation: nine bytes with its letter,
-- the hash of its user and a count; the user; an id. The gateway hashes, since it is twice as fast there:
--   A add `count` places, under the id unless it is ''     F confirm     X give back `count` places (0: all)
--   C check     I the sale's figures     B the users in this user's bucket
-- Without an operation it ends holds that are over.
--
-- Returns one string for each operation, and the sale's state behind them:
--   '=state seq count remaining expires'   '_' nothing   '-CODE argument' a refusal   '~' try again: nothing was done
--   for I '%' and the figures; for B a list of the number of buckets and the users

-- Entries of holds looked at: by every call, and in addition by one that misses a place.
local TAKE_BACK, TAKE_BACK_MORE = 32, 32
-- Ids of a user, and users of a bucket of ids in the mean, from which on one is split.
local IDS_MAX, IDS_MEAN = 32, 16
local ONCE_MS, GATEWAYS_MAX = 600000, 64

local gateway, sequence = ARGV[1], ARGV[2]
local results = {}
local more, took_more, granted = false, false, 0

local function holding(h)
  return '=' .. state_of(h) .. ' ' .. digits(h.seq) .. ' ' .. digits(h.moved or h.confirmed + h.held) .. ' ' ..
    format('%d', s.limit - s.taken) .. ' ' .. digits(h.expires)
end

-- What the user's ids gave, as one string of entries: length, id, seq.
local id_users = {}

local function load_ids(h)
  local ids = id_users[h.user]
  if ids then return ids end
  ids = { hash = h.hash, list = '', count = 0, seqs = {} }
  id_users[h.user] = ids
  if s.idbuckets == 0 then
    call('EXISTS', part('ids', 0))
    return ids
  end
  if idbuckets_before == 0 then return ids end
  ids.place = place(h.hash, idbuckets_before)
  local found = call('HMGET', part('ids', ids.place), '', h.user)
  if not found[1] then error(TRYAGAIN, 0) end
  ids.stored, ids.list = found[2], found[2] or ''
  local at = 1
  while at <= #ids.list do
    local id, seq
    id, seq, at = struct.unpack('>Bc0I5', ids.list, at)
    ids.seqs[id], ids.count = seq, ids.count + 1
  end
  return ids
end

local function remember_id(ids, id, seq)
  if not ids.stored and ids.count == 0 then
    s.idusers = s.idusers + 1
    if s.idbuckets == 0 then s.idbuckets = 1 end
  end
  ids.list, ids.count, ids.changed = ids.list .. struct.pack('>Bc0I5', #id, id, seq), ids.count + 1, true
  ids.seqs[id] = seq
end

-- How many places a user holds in the sale whose holders alone may take from this one.
local other

local function places_in_other(h)
  if not other then
    local numbers = call('HGET', string.sub(sale, 1, 17) .. ':' .. s.holdersof, 'numbers')
    -- The buckets are the fourteenth; none while it is dropped.
    local list = numbers and cmsgpack.unpack(numbers) or { [8] = 1 }
    other = list[8] == 0 and list[14] or 0
  end
  if other == 0 then return 0 end
  local key = head .. 'holders.' .. place(h.hash, other) .. ':' .. s.holdersof
  local found = call('HMGET', key, '', h.user)
  if not found[1] then error(TRYAGAIN, 0) end
  if not found[2] then return 0 end
  local theirs = { held = 0, expires = 0 }
  unpack_holding(theirs, found[2])
  return theirs.confirmed + (theirs.expires > now and theirs.held or 0)
end

local function refusal_of_add(h, count)
  if s.moving_to ~= '' then return '-GONE ' .. s.moving_to end
  if s.closed == 1 or (s.stop > 0 and now >= s.stop) then return '-CLOSED' end
  if now < s.start then return '-NOTOPEN ' .. s.start end
  local places = h.confirmed + h.held + count
  if s.holdersof ~= '' then
    local theirs = places_in_other(h)
    if theirs == 0 then return '-NOTHOLDER ' .. s.holdersof end
    if places > theirs then return '-PERUSER ' .. theirs end
  end
  if places > s.peruser then return '-PERUSER ' .. s.peruser end
  local unread = ledger_full()
  if unread then return format('-LEDGERFULL %d', unread) end
  if s.taken + count > s.limit and more and not took_more then
    took_more, more = true, take_back(TAKE_BACK_MORE)
  end
  if s.taken + count > s.limit then return more and '~' or '-SOLDOUT ' .. s.limit - s.taken end
end

local function add(user, hash, count, id)
  local h = load(user, hash)
  local holds = h.seq > 0
  if h.moved then return '-GONE ' .. s.moving_to end
  if id == '' then
    if holds then return holding(h) end
  else
    local ids = load_ids(h)
    local seq = ids.seqs[id]
    if seq and seq == h.seq then return holding(h) end
    if seq then return '=ended ' .. seq .. ' 0 ' .. s.limit - s.taken .. ' 0' end
    if ids.count >= IDS_MAX then return '-IDS' end
  end
  if holds and h.seq <= s.transit_seq then return '~' end
  local refusal = refusal_of_add(h, count)
  if refusal then return refusal end
  if not holds then line_up(h) end
  s.taken, granted, h.changed = s.taken + count, granted + count, true
  if s.hold > 0 then
    h.held, s.held = h.held + count, s.held + count
    hold(h, now + s.hold)
  else
    h.confirmed, s.confirmed = h.confirmed + count, s.confirmed + count
  end
  if id ~= '' then remember_id(id_users[user], id, h.seq) end
  note('add', h, count, state_of(h))
  return holding(h)
end

local function confirm(user, hash)
  local h = load(user, hash)
  if h.moved then return '-GONE ' .. s.moving_to end
  if h.seq == 0 then return '-NOTHELD' end
  if h.seq <= s.transit_seq then return '~' end
  if h.held > 0 then
    local places = h.held
    s.held, s.confirmed = s.held - places, s.confirmed + places
    h.held, h.confirmed, h.expires, h.changed = 0, h.confirmed + places, 0, true
    note('confirm', h, places, 'confirmed')
  end
  return holding(h)
end

-- What is held goes before what is confirmed.
local function cancel(user, hash, count)
  local h = load(user, hash)
  if h.moved then return '-GONE ' .. s.moving_to end
  if h.seq == 0 then return '_' end
  if h.seq <= s.transit_seq then return '~' end
  local all = h.confirmed + h.held
  local places = count > 0 and math.min(count, all) or all
  local of_held = math.min(places, h.held)
  h.held, h.confirmed, h.changed = h.held - of_held, h.confirmed - places + of_held, true
  s.taken, s.held, s.confirmed = s.taken - places, s.held - of_held, s.confirmed - places + of_held
  if h.held == 0 then h.expires = 0 end
  note('cancel', h, places, places == all and 'cancelled' or state_of(h))
  if places < all then return holding(h) end
  local seq = h.seq
  remove(h)
  return '=cancelled ' .. seq .. ' 0 ' .. s.limit - s.taken .. ' 0'
end

local function check(user, hash)
  local h = load(user, hash)
  return h.seq > 0 and holding(h) or '_'
end

local function bucket(hash)
  local key = part('holders', place(hash, buckets_before))
  local names = call('HKEYS', key)
  if #names == 0 then error(TRYAGAIN, 0) end
  -- The sentinel's name gives way to what the reader needs to know.
  for index, name in ipairs(names) do
    if name == '' then names[index] = names[1] end
  end
  names[1] = tostring(buckets_before)
  return names
end

local function rate_now()
  return s.rate * math.exp((s.rated - now) / RATE_MS)
end

local function sale_state()
  if s.moving_to ~= '' then return 'moved' end
  if s.closed == 1 then return 'closed' end
  if s.stop > 0 and now >= s.stop then return 'ended' end
  if now < s.start then return 'notopen' end
  return s.taken >= s.limit and not more and 'soldout' or 'open'
end

local function figures()
  return '%' .. table.concat({ sale_state(), s.limit, s.taken, s.held, s.confirmed, s.moved, s.holders - s.moved_users, s.seq,
    s.peruser, s.start, s.stop, s.hold, s.ledger, format('%.6g', math.max(0, rate_now())), s.holdersof, s.moving_to }, '\n')
end

local function run(head, user, id)
  local letter, hash, count = struct.unpack('>c1I4I4', head)
  if letter == 'A' then return add(user, hash, count, id) end
  if letter == 'C' then return check(user, hash) end
  if letter == 'F' then return confirm(user, hash) end
  if letter == 'X' then return cancel(user, hash, count) end
  if letter == 'B' then return bucket(hash) end
  return figures()
end

local replayed

-- Whether this flush was applied before, by its token, or a later one was.
local function applied()
  if sequence == '' or not s.once then return false end
  local space = string.find(s.once, ' ', 1, true)
  local last = tonumber(string.sub(s.once, 1, space - 1))
  if last > tonumber(sequence) then error('STALE a later flush of this sale was applied', 0) end
  if last < tonumber(sequence) then return false end
  replayed = cmsgpack.unpack(string.sub(s.once, string.find(s.once, ' ', space + 1, true) + 1))
  return true
end

local forgotten = {}

-- Flushes that no gateway retries any more are forgotten, when a gateway comes that is new here.
local function forget_gateways()
  s.gateways = s.gateways + 1
  if s.gateways <= GATEWAYS_MAX then return end
  for _, name in ipairs(call('HKEYS', sale)) do
    if string.sub(name, 1, 5) == 'once.' then
      local at = tonumber(string.match(call('HGET', sale, name), '^%d+ (%d+)'))
      if at + ONCE_MS < now then forgotten[#forgotten + 1] = name end
    end
  end
  s.gateways = s.gateways - #forgotten
end

local function plan()
  if not read_sale(gateway) then
    for index = 1, (#ARGV - 2) / 3 do results[index] = '-NOSKU' end
    results[#results + 1] = 'none 0 0 0 0 0 0 0 ' .. now_text .. ' 0 '
    return false
  end
  if applied() then return false end
  more = take_back(TAKE_BACK)
  for at = 3, #ARGV, 3 do results[#results + 1] = run(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
  results[#results + 1] = format('%s %d %d %d %d %d %d %d %s %d ', sale_state(), s.taken, s.held, s.limit, s.seq, s.start, s.stop,
    buckets_before, now_text, more and 1 or 0) .. s.moving_to
  if sequence ~= '' and not s.once then forget_gateways() end
  plan_rest()
  if next(id_users) and idbuckets_before > 0 and s.idusers > s.idbuckets * IDS_MEAN then
    s.idbuckets = plan_splits('ids', s.idusers, s.idbuckets, IDS_MEAN, 4)
  end
  if granted > 0 then
    s.rate, s.rated, s.granted = math.max(0, rate_now()) + granted * 1000 / RATE_MS, now, s.granted + granted
  end
  return true
end

local function write_ids()
  for _, ids in pairs(id_users) do
    if ids.changed then ids.packed = ids.list end
  end
  if idbuckets_before == 0 and s.idbuckets > 0 then call('HSET', part('ids', 0), '', '') end
  write_buckets('ids', id_users, s.idbuckets)
end

local function commit()
  local changes = #events > 0 or #splits > 0 or #forgotten > 0 or #seconds_done > 0 or entry_at > 0
  for _, h in ipairs(loaded) do changes = changes or h.changed end
  if sequence ~= '' then
    write_sale('once.' .. gateway, sequence .. ' ' .. now_text .. ' ' .. cmsgpack.pack(results))
  elseif changes then
    write_sale()
  end
  if #forgotten > 0 then call('HDEL', sale, unpack(forgotten)) end
  if changes then write_holdings() end
  if next(id_users) then write_ids() end
end

local planned, writes = pcall(plan)
if not planned then return failed(writes) end
if writes then commit() end
return replayed or results
