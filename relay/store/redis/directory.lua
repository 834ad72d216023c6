-- One operation on the records of one space.
--
-- KEYS: records (hash: key -> version/value), index (sorted set of the keys, all of score 0), versions (counter)
-- ARGV: the operation's name, then what it takes.

local RECORDS, INDEX, VERSIONS = KEYS[1], KEYS[2], KEYS[3]
local operation = ARGV[1]

local function version_of(key)
  local held = redis.call('HGET', RECORDS, key)
  return held and cmsgpack.unpack(held)[1] or 0
end

local function put(key, value)
  local version = redis.call('INCR', VERSIONS)
  redis.call('HSET', RECORDS, key, cmsgpack.pack({ version, value }))
  redis.call('ZADD', INDEX, 0, key)
  return version
end

local function remove(key)
  redis.call('HDEL', RECORDS, key)
  redis.call('ZREM', INDEX, key)
end

local function is_unexpected(key, expect)
  return expect ~= '' and version_of(key) ~= tonumber(expect)
end

if operation == 'put' then
  if is_unexpected(ARGV[2], ARGV[4]) then return -1 end
  return put(ARGV[2], ARGV[3])
elseif operation == 'put_many' then
  for i = 2, #ARGV, 2 do put(ARGV[i], ARGV[i + 1]) end
  return 0
elseif operation == 'delete' then
  if is_unexpected(ARGV[2], ARGV[3]) then return -1 end
  remove(ARGV[2])
  return 0
elseif operation == 'scan' then
  local keys = redis.call('ZRANGEBYLEX', INDEX, ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
  local found = {}
  for _, key in ipairs(keys) do
    table.insert(found, key)
    table.insert(found, cmsgpack.unpack(redis.call('HGET', RECORDS, key))[2])
  end
  return found
elseif operation == 'take' then
  local key = redis.call('ZRANGEBYLEX', INDEX, ARGV[2], ARGV[3], 'LIMIT', 0, 1)[1]
  if not key then return {} end
  local value = cmsgpack.unpack(redis.call('HGET', RECORDS, key))[2]
  remove(key)
  return { key, value }
end
return redis.error_reply('no such operation')
