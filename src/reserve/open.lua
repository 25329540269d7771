-- Opens a sale, or changes one that is open.
--
-- ARGV: limit, peruser, start, end, hold, holdersof, ledger; '' leaves a value as it is (or, at first, as by default).
-- Returns 'opened', 'changed', or '-CODE argument'.

local TERMS = { 'limit', 'peruser', 'start', 'end', 'hold', 'holdersof', 'ledger' }
local DEFAULTS = { '0', '1', '0', '0', '0', '', '1' }

local terms = {}
local exists

-- Runs each command that the hot script writes with, so that a right that is missing shows here and not in the middle of a flush.
local function try_rights()
  local key = head .. 'rights' .. tail
  local trials = { { 'UNLINK', key }, { 'HSET', key, 'a', '1' }, { 'HDEL', key, 'a' }, { 'RPUSH', key, '1', '2' },
    { 'LTRIM', key, 1, -1 }, { 'LTRIM', key, 1, -1 }, { 'ZADD', key, 1, 'a' }, { 'ZREM', key, 'a' },
    { 'XADD', key, '*', 'a', '1' }, { 'UNLINK', key } }
  for _, trial in ipairs(trials) do
    local reply = redis.pcall(unpack(trial))
    if type(reply) == 'table' and reply.err then
      redis.pcall('UNLINK', key)
      error(reply.err, 0)
    end
  end
end

local function plan()
  exists = read_sale('')
  if s.dropping == 1 then return '-DROPPING' end
  if s.moving_to ~= '' then return '-GONE ' .. s.moving_to end
  for index, name in ipairs(TERMS) do
    local value = ARGV[index]
    if value == '' and not exists then value = DEFAULTS[index] end
    if value ~= '' or (name == 'holdersof' and not exists) then
      terms[#terms + 1], terms[#terms + 2] = name, value
    end
  end
  if tonumber(ARGV[1]) < s.taken then return '-BELOW ' .. s.taken end
  if ARGV[6] ~= '' and ask('EXISTS', string.sub(sale, 1, 17) .. ':' .. ARGV[6]) == 0 then
    return '-NOOTHER ' .. ARGV[6]
  end
  ask('EXISTS', head .. 'ledger' .. tail)
  if not exists then
    ask('EXISTS', part('holders', 0))
    ask('EXISTS', part('pages', 0))
    ask('EXISTS', head .. 'due' .. tail)
  end
  try_rights()
end

local function commit()
  if not exists then
    redis.call('HSET', sale, 'buckets', 1, 'created', now, unpack(terms))
    redis.call('HSET', part('holders', 0), '', '')
    redis.call('HSET', part('pages', 0), '', '')
    redis.call('ZADD', head .. 'due' .. tail, '+inf', '')
  else
    redis.call('HSET', sale, unpack(terms))
  end
  -- An empty stream: there is no other command that makes one and needs no further right.
  if redis.call('EXISTS', head .. 'ledger' .. tail) == 0 then
    redis.call('XADD', head .. 'ledger' .. tail, 'MAXLEN', 0, '*', 'event', 'open')
  end
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
commit()
return exists and 'changed' or 'opened'
