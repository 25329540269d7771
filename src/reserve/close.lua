-- Closes a sale, or opens it again.
--
-- KEYS[1] the sale. ARGV[1] '1' to close, '0' to open again. Returns 'ok' or '-CODE argument'.

local found = redis.call('HMGET', KEYS[1], 'limit', 'moving_to')
if not found[1] then return '-NOSKU' end
if found[2] and found[2] ~= '' then return '-GONE ' .. found[2] end
redis.call('HSET', KEYS[1], 'closed', ARGV[1])
return 'ok'
