-- The store's history, after the relay has met primaries: one that it has never met may lack what was acknowledged.
--
-- KEYS: history, met (hash: a primary as whom it was met -> 1). ARGV: the history to begin if one is new, then they.
-- The answer: the history.

local is_first = redis.call('EXISTS', KEYS[2]) == 0
local is_new = false
for i = 2, #ARGV do
  if redis.call('HSETNX', KEYS[2], ARGV[i], 1) == 1 then is_new = true end
end
if is_new and not is_first then redis.call('SET', KEYS[1], ARGV[1]) end
return redis.call('GET', KEYS[1]) or ''
