-- Drops a closed sale in steps.
--
-- ARGV[1] how many keys this step may remove. Returns how many are left, or '-CODE argument'. From the first step on the sale does not exist for
-- other commands; its hash goes last and knows how far the steps came.

local most = tonumber(ARGV[1])
local due_set, ledger = head .. 'due' .. tail, head .. 'ledger' .. tail
local removed, seconds, left = {}, {}, 0

local function drop_key(key)
  if call('EXISTS', key) == 0 then error(TRYAGAIN, 0) end
  removed[#removed + 1] = key
  most = most - 1
end

-- Removes the last of so many keys; returns how many stay.
local function drop_parts(name, count)
  while count > 0 and most > 0 do
    count = count - 1
    drop_key(part(name, count))
  end
  left = left + count
  return count
end

local function drop_seconds()
  local count = call('ZCARD', due_set)
  if count == 0 then error(TRYAGAIN, 0) end
  for _, second in ipairs(call('ZRANGE', due_set, 0, most)) do
    if second ~= '' and most > 0 then
      drop_key(part('due', second))
      seconds[#seconds + 1] = second
    end
  end
  left = left + count - 1 - #seconds
end

local function plan()
  local found = read_sale('')
  if not found and s.dropping == 0 then return '-NOSKU' end
  if s.dropping == 0 and s.closed == 0 and s.moving_to == '' then return '-NOTCLOSED' end
  if s.moving_to ~= '' and s.holders > s.moved_users then return '-MOVING ' .. s.moving_to end
  -- A ledger that somebody follows is read to its end before it goes.
  local is_followed = s.ledger == 1 and (s.entries_read > 0 or s.unread_max > 0)
  if s.dropping == 0 and is_followed and s.entries > s.entries_read then return '-UNREAD ' .. s.entries - s.entries_read end
  if s.dropping == 0 then s.drop_pages = math.floor(s.seq / PAGE) + 1 end
  s.dropping = 1
  s.buckets = drop_parts('holders', s.buckets)
  s.idbuckets = drop_parts('ids', s.idbuckets)
  s.drop_pages = drop_parts('pages', s.drop_pages)
  drop_seconds()
  -- The sorted set, the ledger and the sale go together.
  if left == 0 and most >= 3 then
    drop_key(due_set)
    drop_key(ledger)
    drop_key(sale)
  else
    left = left + 3
  end
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
write_sale()
if #seconds > 0 then call('ZREM', due_set, unpack(seconds)) end
if #removed > 0 then call('UNLINK', unpack(removed)) end
return tostring(left)
