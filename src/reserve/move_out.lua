-- One step of a move, at the sale that holders leave: the first of three.
--
-- ARGV[1] the sale they go to; ARGV[2] how many rows at the most; ARGV[3] how many places that sale has left.
--
-- The rows are in transit from here on: they can't be confirmed or given back, and do not end. A step that was begun and not ended gives the
-- same rows again. Returns the places in line behind which and up to which they are, and six strings for each: place, user, confirmed,
-- held, end of the hold, when. Behind the last row both places are the same.

local to, most, left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local rows, upto = {}, nil

local function rows_of(index, last)
  local users, first = users_of_page(index), index * PAGE
  for place = math.max(1, s.moved_seq + 2 - first), math.min(PAGE, last + 1 - first) do
    if users[place] then
      if #rows >= most * 6 then return end
      upto = first + place - 1
      local h = load(users[place])
      if h.seq == upto then
        local at = #rows
        rows[at + 1], rows[at + 2], rows[at + 3] = tostring(upto), h.user, tostring(h.confirmed)
        rows[at + 4], rows[at + 5], rows[at + 6] = tostring(h.held), tostring(h.expires), tostring(h.time)
      end
    end
  end
end

local function plan()
  if not read_sale('') then return '-NOSKU' end
  if s.moving_to ~= '' and s.moving_to ~= to then return '-GONE ' .. s.moving_to end
  if call('HEXISTS', sale, 'restoring') == 1 then return '-RESTORING' end
  if s.moving_to == '' and s.taken > left then return '-NOROOM ' .. s.taken - left end
  local resumes = s.transit_seq > s.moved_seq
  local last = resumes and s.transit_seq or s.seq
  if resumes then most = last - s.moved_seq end
  local index = math.floor((s.moved_seq + 1) / PAGE)
  local pages_most = 16
  upto = s.moved_seq
  while index * PAGE <= last and #rows < most * 6 and pages_most > 0 do
    rows_of(index, last)
    index, pages_most = index + 1, pages_most - 1
    if #rows < most * 6 then upto = math.max(upto, math.min(last, index * PAGE - 1)) end
  end
  if resumes then upto = s.transit_seq end
  plan_rest()
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
s.transit_seq = upto
write_sale('moving_to', to)
write_holdings()
return { tostring(s.moved_seq), tostring(upto), unpack(rows) }
