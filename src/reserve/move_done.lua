-- One step of a move, at the sale that holders leave: the last of three. What was in transit has moved.
--
-- ARGV[1] up to which place in line. Returns how many holders are left to move, or '-CODE argument'. A step that comes again changes nothing.

local upto = tonumber(ARGV[1])

local function leave(h)
  local places = h.confirmed + h.held
  s.taken, s.held, s.confirmed = s.taken - places, s.held - h.held, s.confirmed - h.confirmed
  s.moved, s.moved_users = s.moved + places, s.moved_users + 1
  h.moved, h.confirmed, h.held, h.expires, h.changed = places, 0, 0, 0, true
  note('move-out', h, places, 'moved')
end

local function plan()
  if not read_sale('') then return '-NOSKU' end
  if upto ~= s.transit_seq or upto <= s.moved_seq then return end
  local index = math.floor((s.moved_seq + 1) / PAGE)
  while index * PAGE <= upto do
    local users, first = users_of_page(index), index * PAGE
    for place = math.max(1, s.moved_seq + 2 - first), math.min(PAGE, upto + 1 - first) do
      local h = users[place] and load(users[place])
      if h and h.seq == first + place - 1 and not h.moved then leave(h) end
    end
    index = index + 1
  end
  s.moved_seq = upto
  plan_rest()
  return 'moved'
end

local planned, answer = pcall(plan)
if not planned then return failed(answer) end
if answer == 'moved' then
  write_sale()
  write_holdings()
elseif answer then
  return answer
end
return tostring(s.holders - s.moved_users)
