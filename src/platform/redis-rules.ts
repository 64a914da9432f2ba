/**
 * What the scripts of `redis-scripts.ts` share: the packed records, and the rules of `ledger/engine` over them, in
 * Lua. Amounts are doubles, exact below 2^53; none is above `most`, and none is ever turned into text by Lua's own
 * rules, which keep 14 digits.
 *
 * What costs is not Redis but Lua: numbers that are read from text, functions that are made anew in each run, tables
 * with named fields, and long strings, of which every byte is hashed. So numbers come packed, a record is one list of
 * numbers in the order in which it is packed, what is used once is no function, and the long texts of a hold lie under
 * a name of their own that only a claim reads. A list that was unpacked has one number more, where unpacking ended.
 */

/** The largest amount, either way, that a record may hold: nano-units. What comes from outside is checked before. */
export const mostNanos = 9_000_000_000_000_000n

/** The same for the scripts. */
export const most = `${mostNanos}`

/**
 * A key's record that counts no call in flight goes after this long. Budgets are rebuilt from the books; a meter of a day
 * counts for two days.
 */
export const idleKeyMs = 172_800_000

/** The digits that stand for a budget's window in packed records. */
export const windowCodes = { total: 0, hour: 1, day: 2, week: 3, month: 4 } as const

/** What is read of a hold alone, of a hold and its account, and of everything that is named but the deadlines. */
export const reads = {
  hold: 'KEYS[1], KEYS[2]',
  account: 'KEYS[1], KEYS[2], KEYS[3]',
  all: 'unpack(KEYS, 1, #KEYS - 1)',
} as const

/**
 * Arguments, the mark of the cell, and the records.
 * KEYS: 1 the mark; for a command on a hold 2 the hold, 3 its account, then the chain's keys; the deadlines are last.
 * ARGV: 1 the mark as it must be, 2 numbers (1 epoch, 2 now or -1 for the server's own clock), then texts.
 * Every script starts here, so nothing is read or changed under another server or another epoch.
 */
export const preamble = (names: string): string => `
local args = {struct.unpack('<' .. string.rep('d', #ARGV[2] / 8), ARGV[2])}
local epoch, now = args[1], args[2]
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
end
local values = redis.call('MGET', ${names})
if values[1] ~= ARGV[1] then
  local isOurs = values[1] and string.sub(values[1], 9) == string.sub(ARGV[1], 9)
  return {'epoch', isOurs and struct.unpack('<d', values[1]) or 0}
end

-- A rule that is broken ends the script before anything was changed; the caller stops the account.
local function broken(rule) error({err = 'BROKEN ' .. rule}) end
`

/** Lists of numbers, packed one after another. */
export const listRules = `
local function packed(list) return struct.pack('<' .. string.rep('d', #list), unpack(list)) end
local function unpacked(value, count, at)
  local list = {struct.unpack('<' .. string.rep('d', count), value, at)}
  list[count + 1] = nil
  return list
end
`

/** Where a key's numbers stand in its list. Its bucket of requests: whether there is one, what is left, since when. */
export const ofKey = {
  status: 2,
  version: 3,
  inFlight: 4,
  held: 5,
  limited: 6,
  left: 7,
  since: 8,
  meters: 9,
  count: 10,
} as const

/**
 * A key: epoch, the numbers of `ofKey`, `count` windows, each three numbers: window, period, spent; and as many meters as
 * it says, each five: see redis-meter-rules.ts.
 */
export const keyRules = `
local function readKey(value, any)
  if not value then return nil end
  local key = {struct.unpack('<dBdddBddBB' .. string.rep('d', (#value - 52) / 8), value)}
  if key[1] ~= epoch and not any then return nil end
  return key
end
local function packKey(key)
  local inFlight, held = key[${ofKey.inFlight}], key[${ofKey.held}]
  if inFlight < 0 or held < 0 then broken('a key cannot hold less than nothing') end
  if inFlight == 0 and held ~= 0 then broken('a key without calls in flight holds nothing') end
  if held > ${most} then broken('an amount is exact') end
  key[1] = epoch
  return struct.pack('<dBdddBddBB' .. string.rep('d', 3 * key[${ofKey.count}] + 5 * key[${ofKey.meters}]), unpack(key))
end

-- As core/period.ts: UTC, and weeks start on Monday. The month of a day is found by eras of 400 years from March.
local starts = {[0] = 0}
local function periodStart(window)
  local start = starts[window]
  if start then return start end
  local day = (now - now % 86400000) / 86400000
  if window == 1 then
    start = now - now % 3600000
  elseif window == 3 then
    start = (day - (day + 3) % 7) * 86400000
  elseif window == 4 then
    local ofEra = (day + 719468) % 146097
    local leaps = (ofEra - ofEra % 1460) / 1460 - (ofEra - ofEra % 36524) / 36524 + (ofEra - ofEra % 146096) / 146096
    local year = (ofEra - leaps - (ofEra - leaps) % 365) / 365
    local ofYear = ofEra - (365 * year + (year - year % 4) / 4 - (year - year % 100) / 100)
    local month = (5 * ofYear + 2 - (5 * ofYear + 2) % 153) / 153
    start = (day - ofYear + (153 * month + 2 - (153 * month + 2) % 5) / 5) * 86400000
  else
    start = day * 86400000
  end
  starts[window] = start
  return start
end
`

/** The budgets of a key. */
export const budgetRules = `
local function spentOf(key, window)
  for i = ${ofKey.count + 1}, ${ofKey.count} + 3 * key[${ofKey.count}], 3 do
    if key[i] == window then return periodStart(window) > key[i + 1] and 0 or key[i + 2] end
  end
end
local function breaks(key, window, limit, more)
  local spent = spentOf(key, window)
  if not spent then broken('a budget has a counter') end
  return spent + key[${ofKey.held}] + more > limit
end
`

/** The request limit of a key: a bucket that is refilled as time passes. */
export const requestRules = `
local minuteMs = 60000
local function refilled(key, limit)
  if key[${ofKey.limited}] == 0 then return limit * minuteMs end
  local elapsed = math.min(minuteMs, math.max(0, now - key[${ofKey.since}]))
  return math.min(limit * minuteMs, key[${ofKey.left}] + elapsed * limit)
end
local function requestsOf(key, limit)
  local left = refilled(key, limit)
  if limit == 0 then return 0, minuteMs, minuteMs end
  local reset, retry = limit * minuteMs - left, math.max(0, minuteMs - left)
  return math.floor(left / minuteMs), math.ceil(reset / limit), math.ceil(retry / limit)
end
`

/** Where the numbers of a hold stand in its list. Sizes are in numbers, that of its facts in bytes. */
export const ofHold = {
  state: 1,
  flags: 2,
  epoch: 3,
  account: 4,
  keys: 5,
  budgets: 6,
  parts: 7,
  facts: 8,
  started: 9,
  input: 10,
  output: 11,
  due: 12,
  estimate: 13,
  charged: 14,
  took: 15,
  lastPurse: 16,
  lastLease: 17,
} as const

/** Where in a hold's record what a checkpoint writes begins and ends, and where the lists do: the first byte is 1. */
export const holdPlaces = { metered: 28, afterMetered: 53, lists: 86 } as const

/**
 * A hold is two records. The first has what scripts compute on: the numbers of `ofHold`; then, as lists, the ids of its
 * keys, its budgets (three numbers each: the key's place, window, limit), its parts, and with flag 2 how much of each
 * part is set aside here; then the labels of what is metered. Flag 1 is that of a recovered hold. Of its usage record
 * they know what it took in money, and the last of its parts that is money: `charged` is 0 without parts, 1 where there
 * is such a part, 2 where all of them are tokens. The second record is text: the facts, as long as the first says, then
 * the usage record once there is one.
 */
export const holdRules = `
local function readHold(value, any)
  if not value then return nil end
  local hold = {struct.unpack('<c1BddBHHI4BddddBddd', value)}
  if hold[${ofHold.epoch}] ~= epoch and not any then return nil end
  return hold
end
local function packHead(hold)
  if hold[${ofHold.estimate}] < 0 or hold[${ofHold.estimate}] > ${most} then broken('an amount is exact') end
  hold[${ofHold.epoch}] = epoch
  return struct.pack('<c1BddBHHI4BddddBddd', unpack(hold))
end
`

/** Where the parts of a hold begin in its record, and where its labels do. */
export const partsAt = `${holdPlaces.lists} + 8 * (hold[${ofHold.keys}] + hold[${ofHold.budgets}])`
export const labelsAt = `${partsAt} + (hold[${ofHold.flags}] > 1 and 10 or 8) * hold[${ofHold.parts}]`

/** The name of a hold's text. */
export const textName = `'t' .. string.sub(KEYS[2], 2)`

/** The records of a hold's keys and their names. */
export const readKeys = `
local names, found = {}, {}
if hold[${ofHold.keys}] > 0 then
  local tag = 'k:' .. string.sub(KEYS[1], 3) .. ':'
  names = unpacked(value, hold[${ofHold.keys}], ${holdPlaces.lists})
  for i = 1, #names do names[i] = tag .. string.format('%.0f', names[i]) end
  found = redis.call('MGET', unpack(names))
end
`
