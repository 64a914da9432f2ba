import { begin, credit, loadKey, stop } from './redis-account-scripts.ts'
import { assertHold, claim } from './redis-assert-scripts.ts'
import { end, finalise } from './redis-end-scripts.ts'
import { lendScript } from './redis-lend-script.ts'
import { slotsScript } from './redis-slots-script.ts'
import { countLimits } from './redis-meter-rules.ts'
import { accountRules, drawRules, labelsOf, ofAccount, packParts, partRules, readOwn } from './redis-purse-rules.ts'
import {
  budgetRules,
  holdPlaces,
  holdRules,
  keyRules,
  listRules,
  ofHold,
  ofKey,
  partsAt,
  preamble,
  readKeys,
  reads,
  requestRules,
  textName,
} from './redis-rules.ts'

/**
 * The commands of `ledger/engine` as Lua, one script each: one round trip, and nothing else runs in between. Each
 * checks everything before it writes, because Redis does not undo what a script has written. Sent twice, a script
 * changes nothing the second time, but for `extend`, which may set aside more than is used and never charges it.
 * Needs Redis 7.0 or newer. The names of the keys of a chain, and of a hold's text, are made in the script: they carry
 * the tag of the declared ones, so they lie in the same slot.
 */

/**
 * Numbers: 3 account, 4 estimate, 5 term, 6 started, 7 input, 8 output, 9 how many numbers of budgets there are in all,
 * 10 how many numbers the needs are, the needs; then for each key version, concurrency, requests per minute, how many
 * numbers its budgets are, its budgets; then, only where there are limits by time, the tokens that are reserved, and
 * for each limit three numbers: the key's place, and code and limit as its meter has them. Texts: 3 id, 4 labels, 5 facts, 6 keys and budgets as the hold keeps them.
 */
const admit = `
local account, keys, links, missing, at = readAccount(values[3]), {}, {}, {}, 11 + args[10]
for i = 1, #KEYS - 4 do
  keys[i], links[i] = readKey(values[i + 3]) or false, at
  if not keys[i] then missing[#missing + 1] = i end
  at = at + 4 + args[at + 3]
end
if not account or missing[1] then return {'load', account and 0 or 1, unpack(missing)} end
if account[${ofAccount.status}] ~= 0 then return {'denied', 'account'} end
local before = readHold(values[2])
if before then return {'duplicate', before[${ofHold.state}]} end

-- The record is older than the caller's copy, or lacks a counter of a budget: guessing zero would open the budget.
local function isBehind(key, at)
  if args[at] ~= key[${ofKey.version}] then return args[at] > key[${ofKey.version}] end
  for i = at + 4, at + 3 + args[at + 3], 2 do if not spentOf(key, args[i]) then return true end end
  return false
end
for i = 1, #keys do
  if args[links[i]] < keys[i][${ofKey.version}] then return {'key_changed', i} end
  if isBehind(keys[i], links[i]) then
    local behind = {}
    for j = 1, #keys do if isBehind(keys[j], links[j]) then behind[#behind + 1] = j end end
    return {'load', 0, unpack(behind)}
  end
  if keys[i][${ofKey.status}] ~= 0 then return {'denied', 'key'} end
end

-- The request limit of the chain with the least left: which key, how much, until it is full. Then what meters say.
local states = {}
local function tightest()
  local which, least, full = 0, 0, 0
  for i = 1, #keys do
    local limit = args[links[i] + 2]
    if limit >= 0 then
      local remaining, reset = requestsOf(keys[i], limit)
      if which == 0 or remaining < least then which, least, full = i, remaining, reset end
    end
  end
  return which, least, full, unpack(states)
end
local estimate, reserved = args[4], ''
if #args > at then
  ${countLimits}
end
for i = 1, #keys do
  local key, at = keys[i], links[i]
  local concurrency, limit = args[at + 1], args[at + 2]
  if concurrency >= 0 and key[${ofKey.inFlight}] >= concurrency then
    return {'limit', 'concurrency', i, 0, 0, now, tightest()}
  end
  if limit >= 0 then
    local remaining, reset, retry = requestsOf(key, limit)
    if retry > 0 then return {'limit', 'requests', i, 0, retry, now, i, remaining, reset, unpack(states)} end
  end
  for j = at + 4, at + 3 + args[at + 3], 2 do
    if breaks(key, args[j], args[j + 1], estimate) then
      return {'limit', 'budget', i, (j - at) / 2 - 1, 0, now, tightest()}
    end
  end
end

local parts = {}
local short, available, held = draw(account, 11, 10 + args[10], parts)
if short then return {'funds', available, held} end
for i = 1, #parts, 4 do if parts[i + 3] == 0 then available = available - parts[i + 2] end end

local writes = {}
for i = 1, #keys do
  local key, limit = keys[i], args[links[i] + 2]
  key[${ofKey.inFlight}], key[${ofKey.held}] = key[${ofKey.inFlight}] + 1, key[${ofKey.held}] + estimate
  if limit >= 0 then
    key[${ofKey.left}], key[${ofKey.since}] = refilled(key, limit) - minuteMs, math.max(now, key[${ofKey.since}])
    key[${ofKey.limited}] = 1
  end
  writes[2 * i - 1], writes[2 * i] = KEYS[i + 3], packKey(key)
end
local due = now + args[5]
local hold = {'H', 0, epoch, args[3], #keys, args[9] + #reserved / 8, #parts, #ARGV[5], args[6], args[7], args[8], due, estimate,
  0, 0, 0, 0}
local value = packHead(hold) .. ARGV[6] .. reserved .. packed(parts) .. ARGV[4]
redis.call('MSET', KEYS[3], packAccount(account), KEYS[2], value, ${textName}, ARGV[5], unpack(writes))
redis.call('ZADD', KEYS[#KEYS], due, ARGV[3])
local which, remaining, reset = tightest()
if states[1] then
  parts[#parts + 1] = now
  for i = 1, #states do parts[#parts + 1] = states[i] end
end
return {'ok', available, which, remaining, reset, unpack(parts)}
`

/** Numbers: 3 account, 4 estimate, 5 on the needs. */
const extend = `
local value = values[2]
local hold = readHold(value)
if not hold then return {'gone'} end
if hold[${ofHold.state}] ~= 'H' then return {'fenced', hold[${ofHold.state}]} end
if hold[${ofHold.account}] ~= args[3] then broken('a command names the account of its hold') end
local isRecovered = hold[${ofHold.flags}] % 2 == 1
local account = readAccount(values[3])
if not account then
  if isRecovered then return {'funds', 0} end
  broken('the account of a live hold is loaded')
end
local estimate, keys = args[4], {}
${readKeys}
for i = 1, #names do
  keys[i] = readKey(found[i]) or false
  if not isRecovered then
    if not keys[i] then broken('the keys of a live hold are loaded') end
    if keys[i][${ofKey.inFlight}] <= 0 then broken('a live hold is in flight at its keys') end
  end
end
-- No key counts a recovered hold, so its own estimate comes on top; what is not loaded cannot refuse.
local more = isRecovered and hold[${ofHold.estimate}] + estimate or estimate
local budgets = unpacked(value, hold[${ofHold.budgets}], ${holdPlaces.lists} + 8 * #names)
for i = 1, #budgets, 3 do
  local key = keys[budgets[i]]
  -- In the place of no key stands what was reserved.
  local isCounted = budgets[i] > 0 and (not isRecovered or (key and spentOf(key, budgets[i + 1])))
  if isCounted and breaks(key, budgets[i + 1], budgets[i + 2], more) then
    return {'limit', (struct.unpack('<d', value, ${holdPlaces.lists} + 8 * (budgets[i] - 1)))}
  end
end
if account[${ofAccount.status}] ~= 0 then return {'funds', 0} end
local drawn = {}
local short, available = draw(account, 5, #args - 1, drawn)
if short then return {'funds', available} end

local parts, labels = unpacked(value, hold[${ofHold.parts}], ${partsAt}), ${labelsOf}
${readOwn}
for i = 1, #drawn, 4 do
  local at = findPart(parts, drawn[i], drawn[i + 1])
  if at then
    parts[at + 2] = parts[at + 2] + drawn[i + 2]
  else
    at = #parts + 1
    addPart(parts, drawn[i], drawn[i + 1], drawn[i + 2], drawn[i + 3])
  end
  if own then own[(at + 3) / 4] = (own[(at + 3) / 4] or 0) + drawn[i + 2] end
end
hold[${ofHold.estimate}] = hold[${ofHold.estimate}] + estimate
local writes = {}
for i = 1, isRecovered and 0 or #names do
  keys[i][${ofKey.held}] = keys[i][${ofKey.held}] + estimate
  writes[2 * i - 1], writes[2 * i] = names[i], packKey(keys[i])
end
local grown = packParts(hold, value, parts, own, labels)
redis.call('MSET', KEYS[3], packAccount(account), KEYS[2], grown, unpack(writes))
return {'ok', unpack(parts)}
`

/** Numbers: 3 account, 4 term, 5 started, 6 input, 7 output. Texts: 3 id, 4 labels. */
const checkpoint = `
local value = values[2]
if not value then return {'gone'} end
local state, flags, standing, account, keys, budgets, parts, _, started, input, output =
  struct.unpack('<c1BddBHHI4Bdd', value)
if standing ~= epoch then return {'gone'} end
if state ~= 'H' then return {'fenced', state} end
if account ~= args[3] then broken('a command names the account of its hold') end

-- What is metered never shrinks; an older checkpoint that comes late does not bring back an older vendor.
local isLatest, due = args[7] >= output, now + args[4]
local seen = struct.pack('<Bddd', math.max(started, args[5]), math.max(input, args[6]), math.max(output, args[7]), due)
local labelsAt = ${holdPlaces.lists} + 8 * (keys + budgets + parts + (flags > 1 and parts / 4 or 0))
if isLatest and string.sub(value, labelsAt) ~= ARGV[4] then
  local lists = string.sub(value, ${holdPlaces.afterMetered}, labelsAt - 1)
  redis.call('SET', KEYS[2], string.sub(value, 1, ${holdPlaces.metered - 1}) .. seen .. lists .. ARGV[4])
else
  redis.call('SETRANGE', KEYS[2], ${holdPlaces.metered - 1}, seen)
end
redis.call('ZADD', KEYS[3], due, ARGV[3])
return {'ok'}
`

const rules = (names: string, parts: readonly string[]): string => preamble(names) + parts.join('')
const ofMoney = [listRules, accountRules, partRules]

/** The scripts by what they do. */
export const scriptTexts = {
  admit: rules(reads.all, [...ofMoney, drawRules, keyRules, budgetRules, requestRules, holdRules, admit]),
  extend: rules(reads.account, [...ofMoney, drawRules, keyRules, budgetRules, holdRules, packParts, extend]),
  checkpoint: rules(reads.hold, [checkpoint]),
  end: rules(reads.account, [...ofMoney, keyRules, holdRules, end]),
  finalise: rules(reads.hold, [holdRules, finalise]),
  credit: rules(reads.hold, [accountRules, credit]),
  load_key: rules(reads.hold, [keyRules, loadKey]),
  stop: rules(reads.hold, [accountRules, stop]),
  assert: rules(reads.hold, [listRules, partRules, holdRules, packParts, assertHold]),
  claim: rules(reads.all, [holdRules, claim]),
  begin,
  lend: lendScript,
  slots: slotsScript,
} as const

export type ScriptName = keyof typeof scriptTexts
