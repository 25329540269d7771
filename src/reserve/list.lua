-- A page of the holders of a sale, in the order of their places in line.
--
-- ARGV[1] behind which place; ARGV[2] how many rows at the most; ARGV[3] only those in this state, or ''; ARGV[4] '1' for two more strings a row:
-- how many of its places are held, and until when.
--
-- Returns the place behind which to go on, '1' if nothing is behind it, and five strings for each row: place, user, count, state, when. There may be
-- fewer rows than asked for, or none, before the end: cancelled places leave gaps.

-- Pages looked at by one call.
local PAGES_MAX = 16

local after, most, state = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local width = ARGV[4] == '1' and 7 or 5
local rows, reached = {}, nil

local function plan()
  if not read_sale('') then return '-NOSKU' end
  local index = math.floor((after + 1) / PAGE)
  local last = math.min(math.floor(s.seq / PAGE), index + PAGES_MAX - 1)
  while index <= last do
    local users, first = users_of_page(index), index * PAGE
    for place = math.max(1, after + 2 - first), PAGE do
      if users[place] then
        if #rows >= most * width then return end
        local h = load(users[place])
        reached = first + place - 1
        if h.seq == reached and (state == '' or state == state_of(h)) then
          local at = #rows
          rows[at + 1], rows[at + 2], rows[at + 3] = format('%d', reached), h.user, format('%d', h.moved or h.confirmed + h.held)
          rows[at + 4], rows[at + 5] = state_of(h), format('%d', h.time)
          if width == 7 then rows[at + 6], rows[at + 7] = format('%d', h.held), format('%d', h.expires) end
        end
      end
    end
    index = index + 1
    reached = math.max(after, math.min(s.seq, index * PAGE - 1))
  end
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
reached = reached or after
return { tostring(reached), reached >= s.seq and '1' or '0', unpack(rows) }
