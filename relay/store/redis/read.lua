-- The runs of one stream after a seq: until they have LIMIT entries or MAX_BYTES, yet at least one. It may be some bytes, or
-- the rest of a run, more: who asked cuts off exactly.
--
-- KEYS: state, entries, commit. ARGV: after, limit, max_bytes.
-- The answer as MessagePack: the floor, then runs, each its description and its bodies as they are stored.

local after, limit, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', KEYS[1], 'floor', 'last_commit')
local floor, last_commit = tonumber(held[1] or '0'), tonumber(held[2] or '0')
local found = { floor }

-- False once the room is used up. Each body has up to five bytes before it, and so have all of a run together.
local function take(run, bodies, most)
  table.insert(found, run)
  table.insert(found, bodies)
  local count = cmsgpack.unpack(run)[7]
  local fresh = math.min(count, most)
  if fresh == count then room = room - math.max(0, #bodies - 5 * (count + 1)) end
  limit = limit - fresh
  return limit > 0 and room >= 0
end

local goes_on = true
if last_commit > after and last_commit <= floor then
  local commit = cmsgpack.unpack(redis.call('GET', KEYS[3]))
  goes_on = take(commit[1], commit[2], 1)
end
local begin = math.max(after, floor)
local from = begin
-- A run of which some is read already may begin the page.
while goes_on do
  local page = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', from + 1), '+', 'COUNT', 16)
  for _, item in ipairs(page) do
    from = tonumber(string.match(item[1], '^%d+'))
    goes_on = take(item[2][2], item[2][4], from - begin)
    if not goes_on then break end
  end
  if #page < 16 then break end
end
return cmsgpack.pack(found)
