-- The common part of the scripts that change holdings: it stands before each of them.
--
-- KEYS[1] is the sale's hash, `{tag}hotgate:sale:<sku>`. The names of all other keys of the sale follow from it.
--
-- A script works in two steps. `plan` reads everything and decides, in memory. `commit` writes. So nothing is written where
-- a key is missing, is of another type, or is on another node. Every key that `commit` writes was asked for in `plan`, also one that does
-- not exist yet: where the slot is being moved, the server refuses there what it would refuse in `commit`.

local TRYAGAIN = 'TRYAGAIN the keys of this sale are on two nodes while their slot moves'
local PAGE = 128
-- Holders of a bucket, in the mean, from which on one is split.
local HOLDERS_MEAN = 24
local LEDGER_MAX = 10000000
-- Seconds in which holds end that one call looks at.
local SECONDS_MAX = 16
-- The window, in milliseconds, over which the rate of grants is smoothed.
local RATE_MS = 10000

local sale = KEYS[1]
local head, tail = string.sub(sale, 1, 17) .. '.', string.sub(sale, 18)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now_text = string.format('%d', now)
local call, sha1hex, format, sub = redis.call, redis.sha1hex, string.format, string.sub


-- The error reply for what ended `plan`.
local function failed(cause)
  local text = string.gsub(type(cause) == 'table' and cause.err or cause, '^@user_script: %d+: ', '')
  if string.find(text, 'non local key', 1, true) then text = TRYAGAIN end
  return redis.error_reply(text)
end

local texts = {}

-- An integer in digits. Most are needed several times, and Lua's own spelling of a number in a string takes three times as long.
local function digits(number)
  local text = texts[number]
  if not text then
    text = format('%d', number)
    texts[number] = text
  end
  return text
end

local function part(name, index) return head .. name .. '.' .. digits(index) .. tail end

-- The sale in memory. Its numbers are one field of the hash: a field for each would take a call several microseconds.
local s
local buckets_before, seq_before, idbuckets_before

-- Reads the sale; says whether there is one. `once` is what the last flush of that gateway left.
local function read_sale(gateway)
  local found = call('HMGET', sale, 'numbers', 'once.' .. gateway, 'holdersof', 'moving_to')
  s = { limit = 0, peruser = 1, start = 0, stop = 0, hold = 0, closed = 0, ledger = 1, dropping = 0, taken = 0, held = 0,
    confirmed = 0, seq = 0, holders = 0, buckets = 1, due = 0, rate = 0, rated = 0, granted = 0, idusers = 0, idbuckets = 0,
    gateways = 0, moved = 0, moved_users = 0, moved_seq = 0, transit_seq = 0, drop_pages = 0, entries = 0, entries_read = 0,
    unread_max = 0, opened = 0, once = found[2], holdersof = found[3] or '', moving_to = found[4] or '' }
  if found[1] then
    s.limit, s.peruser, s.start, s.stop, s.hold, s.closed, s.ledger, s.dropping, s.taken, s.held, s.confirmed, s.seq, s.holders,
      s.buckets, s.due, s.rate, s.rated, s.granted, s.idusers, s.idbuckets, s.gateways, s.moved, s.moved_users, s.moved_seq,
      s.transit_seq, s.drop_pages, s.entries, s.entries_read, s.unread_max, s.opened = unpack(cmsgpack.unpack(found[1]))
  end
  buckets_before, seq_before, idbuckets_before = s.buckets, s.seq, s.idbuckets
  return found[1] and s.dropping == 0
end

-- The sale's numbers as `read_sale` reads them.
local function packed_numbers()
  return cmsgpack.pack({ s.limit, s.peruser, s.start, s.stop, s.hold, s.closed, s.ledger, s.dropping, s.taken, s.held, s.confirmed,
    s.seq, s.holders, s.buckets, s.due, s.rate, s.rated, s.granted, s.idusers, s.idbuckets, s.gateways, s.moved, s.moved_users,
    s.moved_seq, s.transit_seq, s.drop_pages, s.entries, s.entries_read, s.unread_max, s.opened })
end

local function hash_of(user) return tonumber(sub(sha1hex(user), 1, 8), 16) end

local level_of, level = 0, 1

-- Linear hashing: the bucket of a hash among so many buckets.
local function place(hash, buckets)
  if buckets ~= level_of then
    local _, exponent = math.frexp(buckets)
    level_of, level = buckets, 2 ^ (exponent - 1)
  end
  local index = hash % (level * 2)
  return index < buckets and index or index - level
end

-- A holding as it is stored: its kind, the hash of its user, place in line, places that are confirmed (or were, if it moved away), and when it
-- began; for one with places that are held, those and when their time is over. The hash is there for splits: each looks at twice as many users
-- as have come since the last, and to hash them anew would cost more than all else that they need.
local function unpack_holding(h, packed)
  local kind, hash
  if string.byte(packed) == 104 then
    kind, hash, h.seq, h.confirmed, h.time, h.held, h.expires = struct.unpack('>BI4I5I4I6I4I6', packed)
  else
    kind, hash, h.seq, h.confirmed, h.time = struct.unpack('>BI4I5I4I6', packed)
    if kind == 109 then h.moved, h.confirmed = h.confirmed, 0 end
  end
end

local function pack_holding(h)
  if h.moved then return struct.pack('>BI4I5I4I6', 109, h.hash, h.seq, h.moved, h.time) end
  if h.held == 0 then return struct.pack('>BI4I5I4I6', 99, h.hash, h.seq, h.confirmed, h.time) end
  return struct.pack('>BI4I5I4I6I4I6', 104, h.hash, h.seq, h.confirmed, h.time, h.held, h.expires)
end

-- The hash of a user by what is stored of it.
local function stored_hash(packed) return (struct.unpack('>I4', packed, 2)) end

local function state_of(h)
  if h.moved then return 'moved' end
  return h.held > 0 and 'held' or 'confirmed'
end

-- What is to be written: ledger entries, users by place in line (false: removed) of each page, entries of holds by second.
local events, pages, due_adds = {}, {}, {}

local EVENT = 6

-- Entries of the ledger are numbered from 1 on without a gap: whoever reads them sees what is missing.
local function note_words(event, seq, user, count, state, has)
  local at = #events
  events[at + 1], events[at + 2], events[at + 3], events[at + 4], events[at + 5], events[at + 6] = event, digits(seq), user,
    digits(count), state, has
  s.entries = s.entries + 1
end

-- Notes what happened to a holding, behind it: the entry has what is confirmed and held then, until when, and since when.
local function note(event, h, count, state)
  if s.ledger == 1 then
    local has = digits(h.confirmed) .. ' ' .. digits(h.held) .. ' ' .. digits(h.expires) .. ' ' .. digits(h.time)
    note_words(event, h.seq, h.user, count, state, has)
  end
end

-- Notes the terms of the sale: a user there is the sale whose holders alone may take from it.
local function note_terms()
  note_words('terms', 0, s.holdersof, s.limit, s.closed == 1 and 'closed' or 'open',
    format('%d %d %d %d %d', s.peruser, s.start, s.stop, s.hold, s.ledger))
end

-- The page of a place in line, to be changed. It exists from its first place in line on.
local function page_of(seq)
  local index = math.floor(seq / PAGE)
  local page = pages[index]
  if not page then
    page = {}
    pages[index] = page
    local key = part('pages', index)
    if index * PAGE <= seq_before then
      if call('HEXISTS', key, '') == 0 then error(TRYAGAIN, 0) end
    else
      call('EXISTS', key)
    end
  end
  return page
end

-- Who has the places in line of a page, by their position in it, from 1 on: a table by the places themselves would be slower the higher they are.
local function users_of_page(index)
  local entries = call('HGETALL', part('pages', index))
  if #entries == 0 then error(TRYAGAIN, 0) end
  local users = {}
  for at = 1, #entries, 2 do
    local seq = tonumber(entries[at])
    if seq then users[seq - index * PAGE + 1] = entries[at + 1] end
  end
  return users
end

local function remove(h)
  page_of(h.seq)[h.seq] = false
  s.holders = s.holders - 1
  h.seq, h.expires, h.time = 0, 0, 0
end

local function expire(h)
  local places = h.held
  s.taken, s.held = s.taken - places, s.held - places
  h.held, h.expires, h.changed = 0, 0, true
  note('expire', h, places, 'expired')
  if h.confirmed == 0 then remove(h) end
end

local users, loaded = {}, {}

-- What a user holds, whose hash may be known. A hold that is over ends here.
local function load(user, hash)
  local h = users[user]
  if h then return h end
  hash = hash or hash_of(user)
  local index = place(hash, buckets_before)
  local found = call('HMGET', part('holders', index), '', user)
  if not found[1] then error(TRYAGAIN, 0) end
  h = { user = user, hash = hash, place = index, seq = 0, confirmed = 0, held = 0, expires = 0, time = 0, moved = false,
    stored = false, changed = false, packed = false }
  users[user], loaded[#loaded + 1] = h, h
  if found[2] then
    h.stored = true
    unpack_holding(h, found[2])
    if h.held > 0 and h.expires <= now and h.seq > s.transit_seq then expire(h) end
  end
  return h
end

-- Holds by the second in which they end. An entry is place in line * 1000 + milliseconds; the holding is looked at, so an entry may be
-- stale.
local seconds, second_at, entry_at, seconds_done, entries_done = nil, 1, 0, {}, {}

local function due_key(second) return part('due', second) end

-- All entries of a second were looked at.
local function end_second()
  seconds_done[#seconds_done + 1], entries_done[#entries_done + 1] = seconds[second_at], entry_at
  second_at, entry_at = second_at + 1, 0
end

-- Ends the hold of an entry, if it is still the one that the user has.
local function take_back_one(entry)
  local seq = math.floor(entry / 1000)
  local found = call('HMGET', part('pages', math.floor(seq / PAGE)), '', seq)
  if not found[1] then error(TRYAGAIN, 0) end
  if found[2] then load(found[2]) end
end

-- Ends holds that are over: looks at up to so many entries. Says whether there may be more.
local function take_back(most)
  local second_now = math.floor(now / 1000)
  if s.due == 0 or s.due > second_now then return false end
  if not seconds then
    seconds = call('ZRANGEBYSCORE', head .. 'due' .. tail, '-inf', second_now, 'LIMIT', 0, SECONDS_MAX)
    if #seconds == 0 then error(TRYAGAIN, 0) end
  end
  while second_at <= #seconds do
    if most == 0 then return true end
    local second = tonumber(seconds[second_at])
    local entries = call('LRANGE', due_key(second), entry_at, entry_at + most - 1)
    if #entries == 0 and entry_at == 0 then error(TRYAGAIN, 0) end
    for _, entry in ipairs(entries) do
      if second * 1000 + entry % 1000 > now then return false end
      take_back_one(entry)
      entry_at, most = entry_at + 1, most - 1
    end
    if most > 0 then end_second() end
  end
  return #seconds == SECONDS_MAX
end

-- Holds this place in line until then.
local function hold(h, expires)
  h.expires = expires
  local second = math.floor(expires / 1000)
  local entries = due_adds[second]
  if not entries then
    entries = {}
    due_adds[second] = entries
    local scores = call('ZMSCORE', head .. 'due' .. tail, '', second)
    if not scores[1] then error(TRYAGAIN, 0) end
    if call('EXISTS', due_key(second)) == 0 and scores[2] then error(TRYAGAIN, 0) end
  end
  entries[#entries + 1] = format('%d%03d', h.seq, expires % 1000)
end

local ledger_length

-- How many entries the ledger has that were not read, if it has no room; asks whether it is there at all.
local function ledger_full()
  if s.ledger ~= 1 then return false end
  if not ledger_length then
    local key = head .. 'ledger' .. tail
    ledger_length = call('XLEN', key)
    if ledger_length == 0 and call('EXISTS', key) == 0 then error(TRYAGAIN, 0) end
  end
  if ledger_length + #events / EVENT >= LEDGER_MAX then return LEDGER_MAX end
  return s.unread_max > 0 and s.entries - s.entries_read >= s.unread_max and s.unread_max
end

-- A user without a holding gets the next place in line.
local function line_up(h)
  s.seq, s.holders = s.seq + 1, s.holders + 1
  h.seq, h.time = s.seq, now
  page_of(h.seq)[h.seq] = h.user
end

-- Splits of buckets that are to be made: of which, and what moves into the new one.
local splits = {}

-- Splits buckets until the mean is in its bound, at most until their number is a power of two: beyond it, those that were split now would
-- be split again.
local function plan_splits(kind, entries, buckets, mean, most)
  local _, exponent = math.frexp(buckets)
  local whole = 2 ^ (exponent - 1)
  while entries > buckets * mean and buckets < whole * 2 and most > 0 do
    local from = buckets - whole
    local fields = call('HGETALL', part(kind, from))
    if #fields == 0 then error(TRYAGAIN, 0) end
    call('EXISTS', part(kind, buckets))
    local moves = {}
    for index = 1, #fields, 2 do
      local field = fields[index]
      if field ~= '' and (kind == 'holders' and stored_hash(fields[index + 1]) or hash_of(field)) % (whole * 2) == buckets then
        moves[#moves + 1], moves[#moves + 2] = field, fields[index + 1]
      end
    end
    splits[#splits + 1] = { kind = kind, from = from, to = buckets, moves = moves }
    buckets, most = buckets + 1, most - 1
  end
  return buckets
end

-- A second whose entries were all looked at goes, and the next one is the first.
local function plan_due()
  if seconds and entry_at > 0 and call('LLEN', due_key(seconds[second_at])) <= entry_at then end_second() end
  if #seconds_done > 0 then
    s.due = tonumber(seconds[second_at] or call('ZRANGE', head .. 'due' .. tail, #seconds_done, #seconds_done)[1]) or 0
  end
  for second in pairs(due_adds) do
    if s.due == 0 or second < s.due then s.due = second end
  end
end

-- The last of planning: what follows from the changes.
local function plan_rest()
  plan_due()
  if #events > 0 then ledger_full() end
  if s.holders > s.buckets * HOLDERS_MEAN then
    s.buckets = plan_splits('holders', s.holders, s.buckets, HOLDERS_MEAN, 3)
  end
end

local function put(lists, index, first, second)
  local list = lists[index]
  if list then
    local at = #list
    list[at + 1], list[at + 2] = first, second
  else
    lists[index] = { first, second }
  end
end

local function write_each(command, kind, lists)
  for index, list in pairs(lists) do call(command, part(kind, index), unpack(list)) end
end

-- Writes what a bucket's split moves, and what of `known` has changed (by name: packed, or false if it is to go) and lies in the buckets of this kind.
local function write_buckets(kind, known, buckets)
  local sets, removals = {}, {}
  for _, split in ipairs(splits) do
    if split.kind == kind then
      local moved, removed, kept = split.moves, {}, { '', '' }
      for index = 1, #moved, 2 do
        local name, at = moved[index], #kept
        removed[#removed + 1] = name
        if not (known[name] and known[name].changed) then kept[at + 1], kept[at + 2] = name, moved[index + 1] end
      end
      sets[split.to], removals[split.from] = kept, #removed > 0 and removed or nil
    end
  end
  for name, each in pairs(known) do
    if each.changed then
      local index = place(each.hash, buckets)
      if each.packed then put(sets, index, name, each.packed)
      elseif each.stored and index == each.place then put(removals, index, name) end
    end
  end
  write_each('HSET', kind, sets)
  write_each('HDEL', kind, removals)
end

local function write_pages()
  local sets, removals = {}, {}
  for index, page in pairs(pages) do
    if index * PAGE > seq_before then put(sets, index, '', '') end
    for seq, user in pairs(page) do
      if user then put(sets, index, digits(seq), user)
      elseif seq <= seq_before then put(removals, index, digits(seq)) end
    end
  end
  write_each('HSET', 'pages', sets)
  write_each('HDEL', 'pages', removals)
end

-- What is added comes first, so that no list goes that is needed again: where the slot is being moved, it could not be made again.
local function write_due()
  local key = head .. 'due' .. tail
  for second, entries in pairs(due_adds) do
    call('RPUSH', due_key(second), unpack(entries))
    call('ZADD', key, second, second)
  end
  for index, second in ipairs(seconds_done) do
    if due_adds[tonumber(second)] then
      call('LTRIM', due_key(second), entries_done[index], -1)
    else
      call('UNLINK', due_key(second))
      call('ZREM', key, second)
    end
  end
  if entry_at > 0 then call('LTRIM', due_key(seconds[second_at]), entry_at, -1) end
end

local function write_ledger()
  local key = head .. 'ledger' .. tail
  local number = s.entries - #events / EVENT
  for at = 1, #events, EVENT do
    number = number + 1
    call('XADD', key, format('%d-0', number), 'event', events[at], 'seq', events[at + 1], 'user', events[at + 2],
      'count', events[at + 3], 'state', events[at + 4], 'ms', now_text, 'has', events[at + 5])
  end
end

-- Before anything else: it is what a server without memory refuses.
local function write_sale(...)
  call('HSET', sale, 'numbers', packed_numbers(), ...)
end

-- Writes all changes of holdings, behind the sale itself.
local function write_holdings()
  for _, h in ipairs(loaded) do
    if h.changed and h.seq > 0 then h.packed = pack_holding(h) end
  end
  write_buckets('holders', users, s.buckets)
  write_pages()
  write_due()
  write_ledger()
end
