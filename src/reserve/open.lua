-- Opens a sale, or changes one that is open.
--
-- ARGV: limit, peruser, start, end, hold, ledger, holdersof, the most entries of the ledger that may be unread (0: any number); '' leaves a
-- value as it is (or, at first, as by default).
-- Returns 'opened', 'changed', or '-CODE argument'.

local TERMS = { 'limit', 'peruser', 'start', 'stop', 'hold', 'ledger' }

local exists

-- What a client is told of a command that failed. Servers word a missing right in three ways, some without a code.
local function lacks_right(text, command)
  local is_right = string.find(text, 'NOPERM', 1, true) or string.find(text, 'The user executing the script', 1, true)
    or string.find(text, 'ACL failure in script', 1, true)
  if not is_right then return text end
  return "NOPERM the gateway's user at Redis may not run " .. command .. ' on the keys of a sale; sales need the rights that ' ..
    'docs/reservations.md lists'
end

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
      error(lacks_right(reply.err, trial[1]), 0)
    end
  end
end

local function plan()
  exists = read_sale('')
  if s.dropping == 1 then return '-DROPPING' end
  if s.moving_to ~= '' then return '-GONE ' .. s.moving_to end
  if exists and call('HEXISTS', sale, 'restoring') == 1 then return '-RESTORING' end
  if not exists and ARGV[1] == '' then return '-NOSKU' end
  local ledger_before = exists and s.ledger or 0
  if ARGV[8] ~= '' then s.unread_max = tonumber(ARGV[8]) end
  for index, name in ipairs(TERMS) do
    if ARGV[index] ~= '' then s[name] = tonumber(ARGV[index]) end
  end
  if s.limit < s.taken then return '-BELOW ' .. s.taken end
  if ARGV[7] ~= '' then
    s.holdersof = ARGV[7]
    if call('EXISTS', string.sub(sale, 1, 17) .. ':' .. s.holdersof) == 0 then return '-NOOTHER ' .. s.holdersof end
  end
  if call('EXISTS', head .. 'ledger' .. tail) == 0 and exists then error(TRYAGAIN, 0) end
  if not exists then
    call('EXISTS', part('holders', 0))
    call('EXISTS', part('pages', 0))
    call('EXISTS', head .. 'due' .. tail)
    s.opened = now
  end
  if s.ledger == 1 or ledger_before == 1 then note_terms() end
  try_rights()
end

local function commit()
  write_sale('holdersof', s.holdersof)
  if not exists then
    call('HSET', part('holders', 0), '', '')
    call('HSET', part('pages', 0), '', '')
    call('ZADD', head .. 'due' .. tail, '+inf', '')
    -- An empty stream: there is no other command that makes one and needs no further right.
    call('XADD', head .. 'ledger' .. tail, 'MAXLEN', 0, '0-1', 'event', 'open')
  end
  write_ledger()
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
commit()
return exists and 'changed' or 'opened'
