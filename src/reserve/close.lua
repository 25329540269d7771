-- Closes a sale, or opens it again.
--
-- ARGV[1] '1' to close, '0' to open again. Returns 'ok' or '-CODE argument'.

local planned, exists = pcall(read_sale, '')
if not planned then return failed(exists) end
if not exists then return '-NOSKU' end
if s.moving_to ~= '' then return '-GONE ' .. s.moving_to end
s.closed = tonumber(ARGV[1])
write_sale()
return 'ok'
