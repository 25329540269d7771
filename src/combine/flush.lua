-- One flush of a hot key: the steps of a batch, applied atomically, at most once per token.
--
-- KEYS[1]  the hot key. KEYS[2] the companion that remembers the last token, if there is a token. Then the keys that
--          the quota names, by their index.
-- ARGV[1]  the token's sequence, or '' for none. ARGV[2] milliseconds that the companion lives.
-- ARGV[3]  how many clauses the quota has; then the clauses.
-- Then the steps, each a letter and its arguments:
--   I sum low high gets runs          INCRBY and GET on the string
--   H field sum low high gets runs    HINCRBY and HGET on one field
--   S value gets                      SET
--   R count argument...               a read with a scalar reply
--
-- Or only the sequence, of 16 digits, and a sum: the short form of the usual flush, one run of increments without a read or a quota. Returns
-- the integer behind them. The companion, if there is one, keeps its time to live.
--
-- Returns strings, so that no integer passes through a double: for R the reply; for the others a verdict and the value
-- before. Verdict: '=' all took effect; '!text' none did and that is the error of each; '#' how many of each run of
-- equal deltas did. With a quota, I has a third string that tells its state.
-- A reply or value is spelled ':integer', '$string', '_' (null), '+status' or '-error'.

if #ARGV == 2 then
  local sequence, sum = ARGV[1], ARGV[2]
  local remembered = redis.call('GET', KEYS[2])
  if remembered then
    local last = string.sub(remembered, 1, 16)
    if last == sequence then return tonumber(string.sub(remembered, 18)) end
    if last > sequence then return redis.error_reply('STALE a later flush of this key was applied') end
  end
  local after = redis.pcall('INCRBY', KEYS[1], sum)
  if type(after) ~= 'number' then return redis.error_reply('UNUSUAL nothing was changed') end
  -- Beyond 14 digits a number is not spelled exactly. There was a value then, since it is larger than the sum.
  if after > 99999999999999 or after < -99999999999999 then
    if sum ~= '0' then
      redis.call('INCRBY', KEYS[1], string.byte(sum) == 45 and string.sub(sum, 2) or '-' .. sum)
    end
    return redis.error_reply('UNUSUAL nothing was changed')
  end
  if remembered then redis.pcall('SET', KEYS[2], sequence .. '=' .. after, 'KEEPTTL')
  else redis.pcall('SET', KEYS[2], sequence .. '=' .. after, 'PX', '600000') end
  return after
end

-- A double is exact only to 2^53. Near the end of the 64-bit range a fold that might leave it is not tried.
local SAFE = 9.2e18
-- The quota does arithmetic: within 2^52 sums and differences are exact.
local EXACT = 4503599627370496

local key, sequence = KEYS[1], ARGV[1]

if sequence ~= '' then
  local remembered = redis.call('GET', KEYS[2])
  if remembered then
    local space = string.find(remembered, '[ =]')
    local last = tonumber(string.sub(remembered, 1, space - 1))
    local result = string.sub(remembered, space + 1)
    -- The short form left its value.
    if last == tonumber(sequence) and string.byte(remembered, space) == 61 then
      return { '=', string.format('$%.0f', tonumber(result) - tonumber(ARGV[5])) }
    end
    if last == tonumber(sequence) then return cmsgpack.unpack(result) end
    if last > tonumber(sequence) then return redis.error_reply('STALE a later flush of this key was applied') end
  end
end

-- The usual flush, one run of increments and no quota, is done here: to make the functions below would take several
-- times as long as the work. Whatever is unusual about it falls through, with nothing changed.
if #ARGV == 9 and ARGV[3] == '0' and ARGV[4] == 'I' then
  local before = redis.pcall('GET', key)
  local value = type(before) ~= 'table' and tonumber(before or '0')
  if value and value + tonumber(ARGV[6]) >= -SAFE and value + tonumber(ARGV[7]) <= SAFE
    and type(redis.pcall('INCRBY', key, ARGV[5])) == 'number' then
    local results = { '=', before and '$' .. before or '_' }
    if sequence ~= '' then
      redis.pcall('SET', KEYS[2], sequence .. ' ' .. cmsgpack.pack(results), 'PX', ARGV[2])
    end
    return results
  end
end

local cursor = 3

local function take()
  cursor = cursor + 1
  return ARGV[cursor - 1]
end

local function digits(number)
  return string.format('%.0f', number)
end

local function spelled(reply)
  if not reply then return '_' end
  if type(reply) == 'number' then return ':' .. digits(reply) end
  if type(reply) == 'string' then return '$' .. reply end
  if reply.err then return '-' .. reply.err end
  return '+' .. reply.ok
end

-- The integer that Redis would read from this string: no sign +, no leading zero, no blank.
local function integer(text)
  if text == '0' or string.find(text, '^%-?[1-9]%d*$') then return tonumber(text) end
  return nil
end

-- Applies run by run what cannot be applied as a sum. Only an overflow can make members differ: any other error
-- depends on the key alone, comes with the first, and leaves the key as it was.
local function one_by_one(add, runs)
  local taken = {}
  for delta, times in string.gmatch(runs, '(%S+) (%S+)') do
    local count = 0
    while count < tonumber(times) do
      local reply = add(delta)
      if type(reply) == 'table' then
        if not string.find(reply.err, 'overflow', 1, true) then return '!' .. reply.err end
        break
      end
      count = count + 1
    end
    taken[#taken + 1] = count
  end
  return '#' .. table.concat(taken, ' ')
end

local function counter(before, add, sum, low, high, runs)
  local value = tonumber(before or '0') or 0
  if value + tonumber(low) >= -SAFE and value + tonumber(high) <= SAFE then
    local reply = add(sum)
    if type(reply) ~= 'table' then return '=' end
    if not string.find(reply.err, 'overflow', 1, true) then return '!' .. reply.err end
  end
  return one_by_one(add, runs)
end

-- The quota's clauses: 'd' the consuming direction is down; 's' shadow; 'p' paused; 'c n' ceiling; 'C i' ceiling in KEYS[i];
-- 'f n' floor; 'w i limit ms' window counted in KEYS[i]; 'v limit used ms' window in which these steps are counted already,
-- with what it holds beside them; 't i units ms length'
-- window in which so many were taken without asking, whatever the steps add, which is to last ms; 'e text' a fault; 'o i' the operator's override in KEYS[i]; 'b' what follows is a
-- quota in shadow mode beside the one before it, judged on what that grants.
local function read_quota(clauses)
  local quota = { windows = {}, up = true }
  local into = quota
  local function fail(text) into.fault = into.fault or text end
  local function number_at(name, text, least)
    local number = type(text) == 'string' and integer(text)
    if not number or number < least or number > EXACT then
      fail(name .. ' is not an integer from ' .. digits(least) .. ' to ' .. digits(EXACT))
      return nil
    end
    return number
  end
  local function lower(number)
    if number and (not into.ceiling or number < into.ceiling) then into.ceiling = number end
  end
  for _, clause in ipairs(clauses) do
    local letter, first, second, third, fourth = string.match(clause, '^(%a) ?(%S*) ?(%S*) ?(%S*) ?(.*)$')
    local named = KEYS[tonumber(first)]
    if letter == 'd' then quota.up = false
    elseif letter == 's' then quota.shadow = true
    elseif letter == 'p' then quota.paused = true
    elseif letter == 'c' then lower(tonumber(first))
    elseif letter == 'f' then into.floor = tonumber(first)
    elseif letter == 'e' then fail(string.sub(clause, 3))
    elseif letter == 'b' then
      into = { windows = {}, up = quota.up, refused = 0 }
      quota.beside = into
    elseif letter == 'C' then
      local limit = redis.pcall('GET', named)
      if limit == false then fail("limit key '" .. named .. "' does not exist")
      else lower(number_at("limit key '" .. named .. "'", limit, 0)) end
    elseif letter == 'v' then
      into.windows[#into.windows + 1] =
        { limit = tonumber(first), used = tonumber(second), added = 0, left = tonumber(third), shared = true }
    elseif letter == 'w' or letter == 't' then
      local taken = letter == 't' and tonumber(second)
      local used = redis.pcall('GET', named)
      if used == false then used = '0' end
      used = number_at("window key '" .. named .. "'", used, 0)
      -- A window lasts longer than it is long when the clock was set back since, or the server is another: it is over.
      local left = redis.call('PTTL', named)
      local over = left > tonumber(taken and fourth or third)
      if over then used, left = 0, -2 end
      local shared = false
      for _, window in ipairs(into ~= quota and quota.windows or {}) do shared = shared or window.key == named end
      into.windows[#into.windows + 1] = { key = named, limit = tonumber(second), ms = third,
        used = used or 0, added = taken or 0, taken = taken, left = left, over = over, shared = shared }
    elseif letter == 'o' then
      local fields = redis.pcall('HMGET', named, 'limit', 'paused')
      if fields.err then
        fail("override key '" .. named .. "' is not a hash")
      else
        quota.paused = fields[2] == '1'
        if fields[1] then
          local limit = number_at("field limit of '" .. named .. "'", fields[1], quota.up and 0 or -EXACT)
          if quota.up then quota.ceiling = limit else quota.floor = limit end
        end
      end
    end
  end
  return quota
end

-- How many of a run of equal deltas fit, and what stops the next: c ceiling, f floor, w window, p paused, x too large
-- to be exact.
local function fitting(quota, value, delta, times)
  if quota.paused then return 0, 'p' end
  if delta > EXACT or delta < -EXACT then return 0, 'x' end
  local count, cause = times, ''
  local size = math.abs(delta)
  local function within(room, why)
    local most = math.max(0, math.floor(room / size))
    if most < count then count, cause = most, why end
  end
  if delta > 0 then
    within(EXACT - value, 'x')
    if quota.ceiling then within(quota.ceiling - value, 'c') end
  elseif delta < 0 then
    within(value + EXACT, 'x')
    if quota.floor then within(value - quota.floor, 'f') end
  end
  if delta ~= 0 and (delta > 0) == quota.up then
    for index, window in ipairs(quota.windows) do
      within(window.limit - window.used - window.added, 'w' .. index)
    end
  end
  return count, cause
end

local function take_from_windows(quota, delta, count)
  if delta ~= 0 and (delta > 0) == quota.up then
    for _, window in ipairs(quota.windows) do
      if not window.taken then window.added = window.added + math.abs(delta) * count end
    end
  end
end

-- Grants the runs in order as far as they fit. In shadow mode all of them go, and what would not have is counted.
local function grant(quota, start, runs)
  local beside = quota.beside and not quota.beside.fault and quota.beside
  if beside then beside.refused = 0 end
  local value, granted, refused, verdict = start, 0, 0, {}
  for delta, times in string.gmatch(runs, '(%S+) (%S+)') do
    delta, times = tonumber(delta), tonumber(times)
    local count, cause = fitting(quota, value, delta, times)
    refused = refused + times - count
    if quota.shadow then count, cause = times, '' end
    verdict[#verdict + 1] = digits(count) .. cause
    granted = granted + count
    take_from_windows(quota, delta, count)
    if beside then
      local fits = fitting(beside, value, delta, count)
      beside.refused = beside.refused + count - fits
      take_from_windows(beside, delta, count)
    end
    value = value + delta * count
  end
  return value, granted, refused, verdict
end

-- A window begins with its first grant and expires by itself. One without an expiry was written by somebody else; it
-- is given one, or it would refuse for ever.
local function advance_windows(quota)
  for _, window in ipairs(quota.windows) do
    if window.added > 0 then
      -- One that both quotas count in is written by the first.
      if not window.shared then
        if window.over then redis.call('DEL', window.key) end
        redis.call('INCRBY', window.key, digits(window.added))
      end
      window.used, window.added = window.used + window.added, 0
      if window.left == -2 then window.left = -1 end
    end
    if window.left == -1 and not window.shared then
      redis.call('PEXPIRE', window.key, window.ms)
      window.left = tonumber(window.ms)
    end
  end
end

local function state_of(quota, refused)
  local windows = {}
  for index, window in ipairs(quota.windows) do
    windows[index] = digits(window.used) .. ' ' .. digits(math.max(0, window.left))
  end
  return table.concat({
    quota.ceiling and digits(quota.ceiling) or '-', quota.floor and digits(quota.floor) or '-',
    digits(refused), quota.paused and '1' or '0', table.concat(windows, ' '),
    digits(quota.beside and quota.beside.refused or 0), quota.fault or '',
  }, ';')
end

local function clamped(quota, before, add, sum, low, high, runs)
  local start = integer(before or '0')
  if not start then return '!' .. add('0').err, state_of(quota, 0) end
  if start > EXACT or start < -EXACT then quota.fault = quota.fault or 'the counter is beyond 2^52' end
  if quota.fault then
    if quota.shadow then return counter(before, add, sum, low, high, runs), state_of(quota, 0) end
    return '?' .. quota.fault, state_of(quota, 0)
  end
  local value, granted, refused, verdict = grant(quota, start, runs)
  local outcome = '#' .. table.concat(verdict, ' ')
  if quota.shadow then
    outcome = counter(before, add, sum, low, high, runs)
  elseif granted > 0 then
    local reply = add(digits(value - start))
    if type(reply) == 'table' then outcome = '!' .. reply.err end
  end
  for _, each in ipairs({ quota, quota.beside }) do
    if string.sub(outcome, 1, 1) == '!' then
      each.refused = 0
      for _, window in ipairs(each.windows) do window.added = 0 end
    end
    advance_windows(each)
  end
  return outcome, state_of(quota, refused)
end

local clauses = {}
for index = 1, tonumber(take()) do clauses[index] = take() end
local quota = #clauses > 0 and read_quota(clauses) or nil

local results = {}
local function put(text) results[#results + 1] = text end

-- Where the value cannot be an integer, the attempt to add tells the error, which may be another than that of the read.
local function answer(read, add, limits)
  local before = read()
  local sum, low, high, gets, runs = take(), take(), take(), take(), take()
  local verdict, state
  if type(before) == 'table' then
    verdict, state = '!' .. add('0').err, limits and state_of(limits, 0)
  elseif limits then
    verdict, state = clamped(limits, before, add, sum, low, high, runs)
  else
    verdict = counter(before, add, sum, low, high, runs)
  end
  put(verdict)
  put((gets ~= '0' or string.sub(verdict, 1, 1) ~= '!') and spelled(before) or '_')
  if limits then put(state) end
end

while cursor <= #ARGV do
  local letter = take()
  if letter == 'I' then
    answer(function() return redis.pcall('GET', key) end,
      function(delta) return redis.pcall('INCRBY', key, delta) end, quota)
  elseif letter == 'H' then
    local field = take()
    answer(function() return redis.pcall('HGET', key, field) end,
      function(delta) return redis.pcall('HINCRBY', key, field, delta) end)
  elseif letter == 'S' then
    local reply, gets = redis.pcall('SET', key, take()), take()
    put(reply.err and '!' .. reply.err or '=')
    put(reply.err and gets ~= '0' and spelled(redis.pcall('GET', key)) or '_')
  elseif letter == 'R' then
    local request = {}
    for index = 1, tonumber(take()) do request[index] = take() end
    put(spelled(redis.pcall(unpack(request))))
  end
end

-- Once a step has written, no later write of the same script is refused for want of memory; and if none has, there is
-- nothing to remember.
if sequence ~= '' then
  redis.pcall('SET', KEYS[2], sequence .. ' ' .. cmsgpack.pack(results), 'PX', ARGV[2])
end
return results
