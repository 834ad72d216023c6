-- Operations on one stream, in order, under the rules of relay.core.streams (PROTOCOL 4).
--
-- KEYS: state (hash), window (hash), entries (stream), commit (string: the newest commit's entry)
-- ARGV: operations as MessagePack; the answer: for each operation its outcomes, as MessagePack.
--
-- state has head, last_commit, floor, time, incarnation, and for each device m:DEVICE = cursor/joined of a
-- member and c:DEVICE = its last counter. window has DEVICE/slot = seq/time/digest of its newest 64 counters.

local STATE, WINDOW, ENTRIES, COMMIT = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operations, limits = cmsgpack.unpack(ARGV[1]), cmsgpack.unpack(ARGV[2])
local SLOTS, WINDOW_MS, MOST_MEMBERS, MOST_HELD = limits[1], limits[2], limits[3], limits[4]
local MESSAGE_KIND = 0

local function number(field)
  return tonumber(redis.call('HGET', STATE, field) or '0')
end

-- Numbers as text would be rounded from 10^14 on; seqs, times and counters are whole and below 2^53.
local function text(value)
  return string.format('%.0f', value)
end

local function outcome(seq, time, fresh, code, last_commit, entries)
  return { seq, time, fresh, code, last_commit, entries }
end

local function refused(code, last_commit, entries)
  return outcome(0, 0, 0, code, last_commit, entries)
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
  if floor > number('floor') then
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

local function answer_again(append, position, last_counter, last_commit)
  local counter = append.counter + position - 1
  local known = counter + SLOTS > last_counter and redis.call('HGET', WINDOW, slot(append.device, counter))
  known = known and cmsgpack.unpack(known)
  if not known or known[4] ~= counter or known[2] + WINDOW_MS <= append.now then
    return refused('duplicate', last_commit, 1)
  end
  if known[3] ~= append.digests[position] then return refused('conflict', last_commit, 1) end
  return outcome(known[1], known[2], 0, '', last_commit, 1)
end

local function members_after(append, last_commit)
  local all = members()
  for _, device in ipairs(append.removes) do all[device] = nil end
  for _, device in ipairs(append.adds) do all[device] = true end
  if last_commit == 0 then all[append.device] = true end
  local count = 0
  for _ in pairs(all) do count = count + 1 end
  return count
end

local function refusal(append, last_commit)
  if append.after ~= last_commit then
    return append.after < last_commit and 'stale' or 'ahead'
  end
  if append.refusal == 'not_on_roster' then return append.refusal end
  if append.kind ~= MESSAGE_KIND and members_after(append, last_commit) > MOST_MEMBERS then
    return 'too_many_devices'
  end
  if append.refusal ~= '' then return append.refusal end
  return nil
end

local function apply_bundle(append, seq, last_commit)
  local added = {}
  for _, device in ipairs(append.adds) do added[device] = true end
  for _, device in ipairs(append.removes) do
    if not added[device] then redis.call('HDEL', STATE, 'm:' .. device) end
  end
  if last_commit == 0 then added[append.device] = true end
  for device in pairs(added) do
    local earlier = member(device)
    set_member(device, earlier and math.max(seq - 1, earlier[1]) or seq - 1, seq)
  end
  redis.call('HSET', STATE, 'last_commit', text(seq))
end

local function store(append, first, count, last_commit)
  local head = number('head')
  local time = math.max(append.now, number('time'))
  for i = 0, count - 1 do
    local seq, counter = head + 1 + i, append.counter + first - 1 + i
    local body = append.bodies[first + i]
    redis.call('XADD', ENTRIES, text(seq) .. '-0', 'k', append.kind, 'a', text(append.after), 't', text(time),
      'd', append.device, 'c', text(counter), 'b', body)
    if count - i <= SLOTS then
      redis.call('HSET', WINDOW, slot(append.device, counter),
        cmsgpack.pack({ seq, time, append.digests[first + i], counter }))
    end
  end
  redis.call('HSET', STATE, 'head', text(head + count), 'time', text(time),
    'c:' .. append.device, text(append.counter + first + count - 2))
  if append.kind ~= MESSAGE_KIND then
    apply_bundle(append, head + 1, last_commit)
    redis.call('SET', COMMIT, cmsgpack.pack({ head + 1, append.kind, append.after, time, append.device,
      append.counter, append.bodies[1] }))
    erase_acknowledged()
    last_commit = head + 1
  end
  return outcome(head + 1, time, 1, '', last_commit, count)
end

local function append_new(append, first, last_commit)
  local count = #append.bodies - first + 1
  local code = refusal(append, last_commit)
  local fresh = 0
  if not code then
    fresh = math.max(0, math.min(count, MOST_HELD - (number('head') - number('floor'))))
  end
  local outcomes = {}
  if fresh > 0 then table.insert(outcomes, store(append, first, fresh, last_commit)) end
  if fresh < count then table.insert(outcomes, refused(code or 'rate_limited', last_commit, 1)) end
  if fresh + 1 < count then table.insert(outcomes, refused('counter_gap', last_commit, count - fresh - 1)) end
  return outcomes
end

local function append_entries(append)
  local last_commit, entries = number('last_commit'), #append.bodies
  local creates = append.kind ~= MESSAGE_KIND and append.after == 0
  if not creates and not member(append.device) then
    return { refused('not_member', last_commit, entries) }
  end
  local last_counter = number('c:' .. append.device)
  local following = last_counter + 1
  if append.counter > following then return { refused('counter_gap', last_commit, entries) } end
  local repeated = math.min(following - append.counter, entries)
  local outcomes = {}
  for position = 1, repeated do
    table.insert(outcomes, answer_again(append, position, last_counter, last_commit))
  end
  if repeated < entries then
    for _, each in ipairs(append_new(append, repeated + 1, last_commit)) do table.insert(outcomes, each) end
  end
  return outcomes
end

local function acknowledge(device, seq)
  local known = member(device)
  if known and seq > known[1] and seq <= number('head') then
    set_member(device, seq, known[2])
    erase_acknowledged()
  end
end

local function expire(before, forget)
  local floor, head = number('floor'), number('head')
  while floor < head do
    local page = redis.call('XRANGE', ENTRIES, text(floor + 1) .. '-0', '+', 'COUNT', 100)
    if #page == 0 then break end
    local due
    for _, entry in ipairs(page) do
      if tonumber(entry[2][6]) >= before then break end
      due = tonumber(string.match(entry[1], '^%d+'))
    end
    if not due then break end
    floor = due
  end
  erase(floor)
  local all = redis.call('HGETALL', WINDOW)
  for i = 1, #all, 2 do
    if cmsgpack.unpack(all[i + 1])[2] < forget then redis.call('HDEL', WINDOW, all[i]) end
  end
end

local function run(operation)
  local name = operation[1]
  if name == 'create' then
    redis.call('HSETNX', STATE, 'incarnation', operation[2])
    return { outcome(0, 0, 0, '', number('last_commit'), 1) }
  end
  local is_there = redis.call('EXISTS', STATE) == 1
  if name == 'append' then
    local append = {
      device = operation[2], counter = operation[3], kind = operation[4], after = operation[5],
      now = operation[6], refusal = operation[7], adds = operation[8], removes = operation[9],
      bodies = operation[10], digests = operation[11],
    }
    if not is_there then return { refused('not_found', 0, #append.bodies) } end
    return append_entries(append)
  end
  if not is_there then return { refused('not_found', 0, 1) } end
  if name == 'end' then
    redis.call('DEL', STATE, WINDOW, ENTRIES, COMMIT)
    return { outcome(0, 0, 0, '', 0, 1) }
  end
  if name == 'acknowledge' then
    acknowledge(operation[2], operation[3])
  else
    expire(operation[2], operation[3])
  end
  return { outcome(number('floor'), 0, 0, '', number('last_commit'), 1) }
end

local answers = {}
for position, operation in ipairs(operations) do answers[position] = run(operation) end
return cmsgpack.pack(answers)
