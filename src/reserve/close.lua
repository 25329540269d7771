-- Closes a sale, or opens it again.
--
-- ARGV[1] '1' to close, '0' to open again. Returns 'ok' or '-CODE argument'.

local function plan()
  if not read_sale('') then return '-NOSKU' end
  if s.moving_to ~= '' then return '-GONE ' .. s.moving_to end
  if call('HEXISTS', sale, 'restoring') == 1 then return '-RESTORING' end
  s.closed = tonumber(ARGV[1])
  ledger_full()
  if s.ledger == 1 then note_terms() end
end

local planned, refusal = pcall(plan)
if not planned then return failed(refusal) end
if refusal then return refusal end
write_sale()
write_ledger()
return 'ok'
