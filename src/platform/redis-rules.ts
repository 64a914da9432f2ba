/**
 * What the scripts of `redis-scripts.ts` share: the packed records, and the rules of `ledger/engine` over them, in
 * Lua. Amounts are doubles, exact below 2^53; none is above `most`, and none is ever turned into text by Lua's own
 * rules, which keep 14 digits.
 */

/** The largest amount, either way, that a record may hold: nano-units. What comes from outside is checked before. */
export const mostNanos = 9_000_000_000_000_000n

/** A key's record that counts no call in flight goes after this long; it is rebuilt from the books. */
const idleKeyMs = 86_400_000

/** The digits that stand for a budget's window in packed records. */
export const windowCodes = { total: 0, hour: 1, day: 2, week: 3, month: 4 } as const

/**
 * Arguments, the mark of the cell, and the records.
 * KEYS: 1 mark, 2 deadlines, then the records; for a command on a hold 3 account, 4 hold, 5 and on the chain's keys.
 * ARGV: 1 run id, 2 epoch, 3 now or '' for the server's own clock, then what the script reads, in its order.
 * Every script starts here, so nothing is read or changed under another server or another epoch.
 */
export const preamble = `
local most = 9.0e15
local argument = 0
local function text() argument = argument + 1 return ARGV[argument] end
local function number() argument = argument + 1 return tonumber(ARGV[argument]) end
local function numbers()
  local list = {}
  for i = 1, number() do list[i] = number() end
  return list
end

local runId, epoch, now = text(), number(), number()
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local values = redis.call('MGET', unpack(KEYS))
local standing = 0
if values[1] and string.sub(values[1], 9) == runId then standing = struct.unpack('>d', values[1]) end
if standing == 0 or standing ~= epoch then return {'epoch', standing} end

local tag = string.sub(KEYS[1], 3)
local function keyName(id) return 'k:' .. tag .. ':' .. string.format('%.0f', id) end

-- A rule that is broken ends the script before anything was changed; the caller stops the account.
local function must(truth, rule) if not truth then error({err = 'BROKEN ' .. rule}) end end

-- Lists of numbers, packed one after another.
local function packed(list) return struct.pack('>' .. string.rep('d', #list), unpack(list)) end
local function unpacked(value, count, at)
  local list = {struct.unpack('>' .. string.rep('d', count), value, at)}
  return list, table.remove(list)
end
`

/** A key: its counters, its bucket of requests, and its windows, each three numbers: window, period, spent. */
export const keyRules = `
local function readKey(value, any)
  if not value then return nil end
  local key, limited, count, standing, at = {}
  standing, key.status, key.version, key.inFlight, key.held, limited, key.left, key.at, count, at =
    struct.unpack('>dBdddBddB', value)
  key.isOld = standing ~= epoch
  if key.isOld and not any then return nil end
  if limited == 0 then key.left, key.at = nil, nil end
  key.windows = unpacked(value, count * 3, at)
  return key
end

local function packKey(key)
  must(key.inFlight >= 0 and key.held >= 0, 'a key cannot hold less than nothing')
  must(key.inFlight > 0 or key.held == 0, 'a key without calls in flight holds nothing')
  must(key.held <= most, 'an amount is exact')
  return struct.pack('>dBdddBddB', epoch, key.status, key.version, key.inFlight, key.held, key.left and 1 or 0,
    key.left or 0, key.at or 0, #key.windows / 3) .. packed(key.windows)
end

local dayMs = 86400000
-- The first day of the month that a day (counted from 1970-01-01) lies in: days of the eras of 400 years from March.
local function monthStart(day)
  local era = math.floor((day + 719468) / 146097)
  local ofEra = day + 719468 - era * 146097
  local year = math.floor((ofEra - math.floor(ofEra / 1460) + math.floor(ofEra / 36524) - math.floor(ofEra / 146096)) / 365)
  local ofYear = ofEra - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * ofYear + 2) / 153)
  return day - (ofYear - math.floor((153 * month + 2) / 5))
end
-- As core/period.ts: UTC, and weeks start on Monday.
local function startOf(window)
  if window == 0 then return 0 end
  if window == 1 then return now - now % 3600000 end
  local day = math.floor(now / dayMs)
  if window == 3 then day = day - (day + 3) % 7 end
  if window == 4 then day = monthStart(day) end
  return day * dayMs
end
local starts = {}
local function periodStart(window)
  starts[window] = starts[window] or startOf(window)
  return starts[window]
end

local function spentOf(key, window)
  for i = 1, #key.windows, 3 do
    if key.windows[i] == window then
      return periodStart(window) > key.windows[i + 1] and 0 or key.windows[i + 2]
    end
  end
end

-- Where the first budget stands that more would break: a budget is a window and a limit.
local function brokenBudget(key, budgets, more)
  for i = 1, #budgets, 2 do
    local spent = spentOf(key, budgets[i])
    must(spent, 'a budget has a counter')
    if spent + key.held + more > budgets[i + 1] then return i end
  end
end

-- A counter stands still at the most that is exact: every limit is below it.
local function spend(key, charge)
  if charge == 0 then return end
  for i = 1, #key.windows, 3 do
    local period = periodStart(key.windows[i])
    if period > key.windows[i + 1] then key.windows[i + 1], key.windows[i + 2] = period, 0 end
    key.windows[i + 2] = math.min(most, key.windows[i + 2] + charge)
  end
end

local minuteMs = 60000
local function refilled(key, limit)
  if not key.left then return limit * minuteMs end
  local elapsed = math.min(minuteMs, math.max(0, now - key.at))
  return math.min(limit * minuteMs, key.left + elapsed * limit)
end
local function requestsOf(key, limit)
  local left = refilled(key, limit)
  local function wait(amount)
    if limit == 0 then return minuteMs end
    return math.ceil(math.max(0, amount - left) / limit)
  end
  return math.floor(left / minuteMs), wait(limit * minuteMs), wait(minuteMs)
end

-- Writes records; names and values take turns. Keys that count nothing in flight may go when nobody uses them.
local function save(writes, idle)
  redis.call('MSET', unpack(writes))
  for i = 1, #idle do redis.call('PEXPIRE', idle[i], ${idleKeyMs}) end
end
local function addKey(writes, idle, name, key)
  writes[#writes + 1], writes[#writes + 2] = name, packKey(key)
  if key.inFlight == 0 then idle[#idle + 1] = name end
end
`

/**
 * A hold: what scripts compute on, packed; its facts, labels and record are text that they never read. Of the record
 * they know what it took in money, and the last of its parts that is money: charged is 0 without parts, 1 where there
 * is such a part, 2 where all of them are tokens.
 */
export const holdRules = `
local holdLayout = '>c1BddddBddBdddI4c0I4c0I4c0'
local function packHold(hold)
  must(hold.estimate >= 0 and hold.estimate <= most, 'an amount is exact')
  return struct.pack(holdLayout, hold.state, hold.recovered and 1 or 0, epoch, hold.account, hold.due, hold.estimate,
    hold.started, hold.input, hold.output, hold.charged, hold.took, hold.lastPurse, hold.lastLease,
    #hold.labels, hold.labels, #hold.body, hold.body, #hold.record, hold.record)
end

local function readHold(value, any)
  if not value then return nil end
  local hold, recovered, standing = {}
  hold.state, recovered, standing, hold.account, hold.due, hold.estimate, hold.started, hold.input, hold.output,
    hold.charged, hold.took, hold.lastPurse, hold.lastLease, hold.labels, hold.body, hold.record =
    struct.unpack(holdLayout, value)
  hold.isOld = standing ~= epoch
  if hold.isOld and not any then return nil end
  hold.recovered = recovered == 1
  return hold
end

-- What most commands do not look at: keys, parts, budgets, facts.
local function packBody(keys, parts, budgets, facts)
  return struct.pack('>BHH', #keys, #parts, #budgets) .. packed(keys) .. packed(parts) .. packed(budgets) .. facts
end
local function openBody(hold)
  local keys, parts, budgets, at = struct.unpack('>BHH', hold.body)
  hold.keys, at = unpacked(hold.body, keys, at)
  hold.parts, at = unpacked(hold.body, parts, at)
  hold.budgets, at = unpacked(hold.body, budgets, at)
  hold.facts = string.sub(hold.body, at)
end

local function metered() return {started = number(), input = number(), output = number(), labels = text()} end
-- What is metered never shrinks; an older checkpoint that comes late does not bring back an older vendor.
local function further(hold, seen)
  if seen.output >= hold.output then hold.output, hold.labels = seen.output, seen.labels end
  hold.input = math.max(hold.input, seen.input)
  hold.started = math.max(hold.started, seen.started)
end
local function setDue(id, due) redis.call('ZADD', KEYS[2], string.format('%.0f', due), id) end
`

/** The end of a hold: its account and its keys afterwards. */
export const endRules = `
local function readKeys(hold)
  local names = {}
  for i = 1, #hold.keys do names[i] = keyName(hold.keys[i]) end
  if #names == 0 then return names, {} end
  return names, redis.call('MGET', unpack(names))
end

-- Counts a charge at an account and at keys. A live hold gives back what it set aside; of any other, what is not
-- loaded is rebuilt from the books when it is.
local function charge(hold, aside, paid, total, writes, idle)
  local isLive = aside ~= nil
  local account = readAccount(values[3])
  must(account or not isLive, 'the account of a live hold is loaded')
  if account then
    payOut(account, aside or {}, paid)
    writes[#writes + 1], writes[#writes + 2] = KEYS[3], packAccount(account)
  end
  local names, found = readKeys(hold)
  for i = 1, #names do
    local key = readKey(found[i])
    must(key or not isLive, 'the keys of a live hold are loaded')
    if key then
      if isLive then
        must(key.inFlight > 0, 'a hold that ends was in flight')
        must(hold.estimate <= key.held, 'a key holds the estimates of its holds')
        key.inFlight, key.held = key.inFlight - 1, key.held - hold.estimate
      end
      spend(key, total)
      addKey(writes, idle, names[i], key)
    end
  end
end
`
