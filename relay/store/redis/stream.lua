-- Operations on one stream, in order, under the rules of relay.core.streams (PROTOCOL 4).
--
-- KEYS: state (hash), window (hash), entries (stream), commit (string: the newest commit's run), news (channel)
-- ARGV: operations as MessagePack; limits; the bodies of the appends, each operation's as one MessagePack array.
-- The answer: for each operation its outcomes, as MessagePack.
--
-- state has head, last_commit, floor, time, incarnation, and for each device m:DEVICE = cursor/joined of a
-- member and c:DEVICE = its last counter. window has runs of its newest counters: DEVICE/slot of the first =
-- counter/seq/time of the first and all digests. entries has runs too: what one append brought, under the seq of
-- its last entry.

local STATE, WINDOW, ENTRIES, COMMIT, NEWS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operations, limits = cmsgpack.unpack(ARGV[1]), cmsgpack.unpack(ARGV[2])
local SLOTS, WINDOW_MS, MOST_MEMBERS, MOST_HELD = limits[1], limits[2], limits[3], limits[4]
local PUBLISH, NUMBER, NODE, MOST_TOLD = limits[5], limits[6], limits[7], limits[8]
local FIRST_BODIES = 2
local MESSAGE_KIND = 0
local DIGEST_BYTES = 16

local held = redis.call('HMGET', STATE, 'head', 'last_commit', 'floor', 'time', 'incarnation')
local HEAD, LAST_COMMIT = tonumber(held[1] or '0'), tonumber(held[2] or '0')
local FLOOR, TIME = tonumber(held[3] or '0'), tonumber(held[4] or '0')
local IS_THERE = held[5] and true or false
local head_before, commit_before = HEAD, LAST_COMMIT
local told, told_bytes = {}, 0

-- Numbers as text would be rounded from 10^14 on; seqs, times and counters are whole and below 2^53.
local function text(value)
  return string.format('%.0f', value)
end

local function outcome(seq, time, fresh, code, entries)
  return { seq, time, fresh, code, LAST_COMMIT, entries }
end

local function refused(code, entries)
  return outcome(0, 0, 0, code, entries)
end

local function member(device)
  local found = redis.call('HGET', STATE, 'm:' .. device)
  if not found then return nil end
  return cmsgpack.unpack(found)
end

local function set_member(device, cursor, joined)
  redis.call('HSET', STATE, 'm:' .. device, cmsgpack.pack({ cursor, joined }))
end

local function members()
  local all = redis.call('HGETALL', STATE)
  local found, count = {}, 0
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'm:' then
      found[string.sub(all[i], 3)] = cmsgpack.unpack(all[i + 1])
      count = count + 1
    end
  end
  return found, count
end

-- Erase what everybody has; the newest commit stays readable in its own key.
local function erase(floor)
  if floor > FLOOR then
    FLOOR = floor
    redis.call('HSET', STATE, 'floor', text(floor))
    redis.call('XTRIM', ENTRIES, 'MINID', text(floor + 1) .. '-0')
  end
end

local function erase_acknowledged()
  local all, count = members()
  if count == 0 then return end
  local floor
  for _, known in pairs(all) do
    if not floor or known[1] < floor then floor = known[1] end
  end
  erase(floor)
end

local function slot(device, counter)
  return device .. text(counter % SLOTS)
end

local function digest(digests, position)
  return string.sub(digests, (position - 1) * DIGEST_BYTES + 1, position * DIGEST_BYTES)
end

-- The seq, time and digest of a counter that was used: its run began with it, or with one of those before.
local function recall(device, counter)
  local slots = {}
  for back = 0, SLOTS - 1 do slots[back + 1] = slot(device, math.max(0, counter - back)) end
  for _, run in ipairs(redis.call('HMGET', WINDOW, unpack(slots))) do
    local first, seq, time, digests
    if run then first, seq, time, digests = unpack(cmsgpack.unpack(run)) end
    if run and first <= counter and counter < first + #digests / DIGEST_BYTES then
      return seq + counter - first, time, digest(digests, counter - first + 1)
    end
  end
end

local function answer_again(append, position, last_counter)
  local counter = append.counter + position - 1
  local seq, time, known
  if counter + SLOTS > last_counter then seq, time, known = recall(append.device, counter) end
  if not seq or time + WINDOW_MS <= append.now then return refused('duplicate', 1) end
  if known ~= digest(append.digests, position) then return refused('conflict', 1) end
  return outcome(seq, time, 0, '', 1)
end

local function members_after(append)
  local all = members()
  for _, device in ipairs(append.removes) do all[device] = nil end
  for _, device in ipairs(append.adds) do all[device] = true end
  if LAST_COMMIT == 0 then all[append.device] = true end
  local count = 0
  for _ in pairs(all) do count = count + 1 end
  return count
end

local function refusal(append)
  if append.after ~= LAST_COMMIT then
    return append.after < LAST_COMMIT and 'stale' or 'ahead'
  end
  if append.refusal == 'not_on_roster' then return append.refusal end
  if append.kind ~= MESSAGE_KIND and members_after(append) > MOST_MEMBERS then
    return 'too_many_devices'
  end
  if append.refusal ~= '' then return append.refusal end
  return nil
end

local function apply_bundle(append, seq)
  local added = {}
  for _, device in ipairs(append.adds) do added[device] = true end
  for _, device in ipairs(append.removes) do
    if not added[device] then redis.call('HDEL', STATE, 'm:' .. device) end
  end
  if LAST_COMMIT == 0 then added[append.device] = true end
  for device in pairs(added) do
    local earlier = member(device)
    set_member(device, earlier and math.max(seq - 1, earlier[1]) or seq - 1, seq)
  end
  redis.call('HSET', STATE, 'last_commit', text(seq))
  LAST_COMMIT = seq
end

-- The bodies from `first` on, so many, as they are stored: nearly always all, as they came.
local function bodies_of(append, first, count)
  local packed = ARGV[FIRST_BODIES + append.bodies]
  if first == 1 and count == append.entries then return packed end
  local all, some = cmsgpack.unpack(packed), {}
  for position = first, first + count - 1 do table.insert(some, all[position]) end
  return cmsgpack.pack(some)
end

local function remember(append, first, count, seq, time)
  local skipped = math.max(0, count - SLOTS)
  local counter = append.counter + first - 1 + skipped
  local digests = string.sub(append.digests, (first - 1 + skipped) * DIGEST_BYTES + 1, (first - 1 + count) * DIGEST_BYTES)
  redis.call('HSET', WINDOW, slot(append.device, counter), cmsgpack.pack({ counter, seq + skipped, time, digests }))
end

local function store(append, first, count)
  local seq, counter = HEAD + 1, append.counter + first - 1
  local bodies = bodies_of(append, first, count)
  TIME = math.max(append.now, TIME)
  HEAD = HEAD + count
  local run = cmsgpack.pack({ seq, append.kind, append.after, TIME, append.device, counter, count })
  redis.call('XADD', ENTRIES, text(HEAD) .. '-0', 'r', run, 'b', bodies)
  table.insert(told, run)
  table.insert(told, bodies)
  told_bytes = told_bytes + #bodies
  remember(append, first, count, seq, TIME)
  redis.call('HSET', STATE, 'head', text(HEAD), 'time', text(TIME), 'c:' .. append.device, text(counter + count - 1))
  if append.kind ~= MESSAGE_KIND then
    apply_bundle(append, seq)
    redis.call('SET', COMMIT, cmsgpack.pack({ run, bodies }))
    erase_acknowledged()
  end
  return outcome(seq, TIME, 1, '', count)
end

local function append_new(append, first)
  local count = append.entries - first + 1
  local code = refusal(append)
  local fresh = 0
  if not code then fresh = math.max(0, math.min(count, MOST_HELD - (HEAD - FLOOR))) end
  local outcomes = {}
  if fresh > 0 then table.insert(outcomes, store(append, first, fresh)) end
  if fresh < count then table.insert(outcomes, refused(code or 'rate_limited', 1)) end
  if fresh + 1 < count then table.insert(outcomes, refused('counter_gap', count - fresh - 1)) end
  return outcomes
end

local function append_entries(append)
  local entries = append.entries
  local known = redis.call('HMGET', STATE, 'm:' .. append.device, 'c:' .. append.device)
  local creates = append.kind ~= MESSAGE_KIND and append.after == 0
  if not creates and not known[1] then return { refused('not_member', entries) } end
  local last_counter = tonumber(known[2] or '0')
  local following = last_counter + 1
  if append.counter > following then return { refused('counter_gap', entries) } end
  local repeated = math.min(following - append.counter, entries)
  local outcomes = {}
  for position = 1, repeated do
    table.insert(outcomes, answer_again(append, position, last_counter))
  end
  if repeated < entries then
    for _, each in ipairs(append_new(append, repeated + 1)) do table.insert(outcomes, each) end
  end
  return outcomes
end

local function acknowledge(device, seq)
  local known = member(device)
  if known and seq > known[1] and seq <= HEAD then
    set_member(device, seq, known[2])
    erase_acknowledged()
  end
end

local function expire(before, forget)
  local floor = FLOOR
  while floor < HEAD do
    local page = redis.call('XRANGE', ENTRIES, text(floor + 1) .. '-0', '+', 'COUNT', 100)
    if #page == 0 then break end
    local due
    for _, entry in ipairs(page) do
      if cmsgpack.unpack(entry[2][2])[4] >= before then break end
      due = tonumber(string.match(entry[1], '^%d+'))
    end
    if not due then break end
    floor = due
  end
  erase(floor)
  local all = redis.call('HGETALL', WINDOW)
  for i = 1, #all, 2 do
    if cmsgpack.unpack(all[i + 1])[3] < forget then redis.call('HDEL', WINDOW, all[i]) end
  end
end

local function run(operation)
  local name = operation[1]
  if name == 'create' then
    if not IS_THERE then redis.call('HSET', STATE, 'incarnation', operation[2]) end
    IS_THERE = true
    return { outcome(0, 0, 0, '', 1) }
  end
  if name == 'append' then
    local append = {
      device = operation[2], counter = operation[3], kind = operation[4], after = operation[5],
      now = operation[6], refusal = operation[7], adds = operation[8], removes = operation[9],
      entries = operation[10], digests = operation[11], bodies = operation[12],
    }
    if not IS_THERE then return { refused('not_found', append.entries) } end
    return append_entries(append)
  end
  if not IS_THERE then return { refused('not_found', 1) } end
  if name == 'end' then
    redis.call('DEL', STATE, WINDOW, ENTRIES, COMMIT)
    HEAD, LAST_COMMIT, FLOOR, TIME, IS_THERE = 0, 0, 0, 0, false
    head_before, commit_before = 0, 0
    told, told_bytes = {}, 0
    return { outcome(0, 0, 0, '', 1) }
  end
  if name == 'acknowledge' then
    acknowledge(operation[2], operation[3])
  else
    expire(operation[2], operation[3])
  end
  return { outcome(FLOOR, 0, 0, '', 1) }
end

-- Whether somebody else than the node that asks this listens; if we may not ask, there may be.
local function is_told_to_others()
  local found = redis.pcall('PUBSUB', NUMBER, NEWS)
  return not found[2] or found[2] > 1
end

-- Who has told: with it the entries, if they are few enough and no commit is among them, and the head before.
local function teller()
  if HEAD == head_before or LAST_COMMIT ~= commit_before or told_bytes > MOST_TOLD then return NODE end
  return is_told_to_others() and { NODE, head_before, told } or NODE
end

local answers = {}
for position, operation in ipairs(operations) do answers[position] = run(operation) end
if PUBLISH ~= '' and (HEAD ~= head_before or LAST_COMMIT ~= commit_before) then
  redis.call(PUBLISH, NEWS, cmsgpack.pack({ 'w', teller(), HEAD, LAST_COMMIT }))
end
return cmsgpack.pack(answers)
