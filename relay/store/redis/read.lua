-- The entries of one stream after a seq: at most LIMIT, bodies of at most MAX_BYTES, yet at least one.
--
-- KEYS: state, entries, commit. ARGV: after, limit, max_bytes. The answer: entries as MessagePack.

local after, limit, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found = {}

-- False once the room is used up.
local function take(entry)
  room = room - #entry[7]
  if #found > 0 and room < 0 then return false end
  table.insert(found, entry)
  return #found < limit
end

local floor = tonumber(redis.call('HGET', KEYS[1], 'floor') or '0')
local last_commit = tonumber(redis.call('HGET', KEYS[1], 'last_commit') or '0')
local goes_on = true
if last_commit > after and last_commit <= floor then
  goes_on = take(cmsgpack.unpack(redis.call('GET', KEYS[3])))
end
local from = math.max(after, floor)
while goes_on do
  local page = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', from + 1), '+', 'COUNT', 32)
  if #page == 0 then break end
  for _, item in ipairs(page) do
    local fields = item[2]
    from = tonumber(string.match(item[1], '^%d+'))
    goes_on = take({ from, tonumber(fields[2]), tonumber(fields[4]), tonumber(fields[6]), fields[8],
      tonumber(fields[10]), fields[12] })
    if not goes_on then break end
  end
end
return cmsgpack.pack(found)
