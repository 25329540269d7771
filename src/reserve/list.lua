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

-- The places in line of a page behind `after`, in order, and who has them.
local function places_of(index)
  local entries = call('HGETALL', part('pages', index))
  if #entries == 0 then error(TRYAGAIN, 0) end
  local seqs, by_seq = {}, {}
  for at = 1, #entries, 2 do
    local seq = tonumber(entries[at])
    if seq and seq > after then
      seqs[#seqs + 1], by_seq[seq] = seq, entries[at + 1]
    end
  end
  table.sort(seqs)
  return seqs, by_seq
end

local function plan()
  if not read_sale('') then return '-NOSKU' end
  local index = math.floor((after + 1) / PAGE)
  local last = math.min(math.floor(s.seq / PAGE), index + PAGES_MAX - 1)
  while index <= last do
    local seqs, by_seq = places_of(index)
    for _, seq in ipairs(seqs) do
      if #rows >= most * width then return end
      local h = load(by_seq[seq])
      reached = seq
      if h.seq == seq and (state == '' or state == state_of(h)) then
        local at = #rows
        rows[at + 1], rows[at + 2], rows[at + 3] = format('%d', seq), h.user, format('%d', h.moved or h.confirmed + h.held)
        rows[at + 4], rows[at + 5] = state_of(h), format('%d', h.time)
        if width == 7 then rows[at + 6], rows[at + 7] = format('%d', h.held), format('%d', h.expires) end
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
