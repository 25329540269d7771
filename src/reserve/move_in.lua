-- One step of a move, at the sale that holders come to: the second of three.
--
-- ARGV[1] the sale they come from; ARGV[2] up to which place there this step goes; then the rows of `move_out.lua`.
--
-- Who has no holding here gets the next place in line, so the order stays; who has one has both. What was imported is known by its place
-- there, so a step that comes again changes nothing. Returns 'ok' or '-CODE argument'.

local from, upto = ARGV[1], tonumber(ARGV[2])
local mark = 'in.' .. from

local function import(row)
  local h = load(ARGV[row + 1])
  local confirmed, held, expires = tonumber(ARGV[row + 2]), tonumber(ARGV[row + 3]), tonumber(ARGV[row + 4])
  if h.seq == 0 then
    line_up(h)
    h.time = tonumber(ARGV[row + 5])
  end
  h.confirmed, h.held, h.changed = h.confirmed + confirmed, h.held + held, true
  s.confirmed, s.held, s.taken = s.confirmed + confirmed, s.held + held, s.taken + confirmed + held
  if held > 0 then hold(h, math.max(h.expires, expires)) end
  note('move-in', h, confirmed + held, state_of(h))
end

local function plan()
  if not read_sale('') then return '-NOSKU' end
  if s.moving_to ~= '' then return '-GONE ' .. s.moving_to end
  local done = tonumber(call('HGET', sale, mark) or 0)
  if upto <= done then return 'ok' end
  take_back(64)
  local places = 0
  for row = 3, #ARGV, 6 do
    if tonumber(ARGV[row]) > done then places = places + ARGV[row + 2] + ARGV[row + 3] end
  end
  if s.taken + places > s.limit then return '-SOLDOUT ' .. s.limit - s.taken end
  for row = 3, #ARGV, 6 do
    if tonumber(ARGV[row]) > done then import(row) end
  end
  plan_rest()
end

local planned, answer = pcall(plan)
if not planned then return failed(answer) end
if answer then return answer end
write_sale(mark, upto)
write_holdings()
return 'ok'
