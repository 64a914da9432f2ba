import { begin, credit, loadKey, stop } from './redis-account-scripts.ts'
import { accountRules, drawRules } from './redis-purse-rules.ts'
import { endRules, holdRules, keyRules, preamble } from './redis-rules.ts'

/**
 * The commands of `ledger/engine` as Lua, one script each: one round trip, and nothing else runs in between. Each
 * checks everything before it writes, because Redis does not undo what a script has written. Sent twice, a script
 * changes nothing the second time, but for `extend`, which may set aside more than is used and never charges it.
 * Needs Redis 7.0 or newer. The names of the keys of a hold's chain are made in the script: they carry the tag of the
 * declared ones, so they lie in the same slot.
 */

const admit = `
local id, accountId, estimate, term = text(), number(), number(), number()
local seen, facts, needs = metered(), text(), numbers()
local account, chain, missing = readAccount(values[3]), {}, {}
for i = 5, #KEYS do
  local link = {id = number(), version = number(), concurrency = number(), limit = number(), budgets = numbers()}
  link.key = readKey(values[i])
  chain[#chain + 1] = link
  if not link.key then missing[#missing + 1] = #chain end
end
if not account or #missing > 0 then return {'load', account and 0 or 1, unpack(missing)} end
if account.status ~= 0 then return {'denied', 'account'} end
local before = readHold(values[4])
if before then return {'duplicate', before.state} end

-- The record is older than the caller's copy, or lacks a counter of a budget: guessing zero would open the budget.
local function isBehind(link)
  if link.version ~= link.key.version then return link.version > link.key.version end
  for i = 1, #link.budgets, 2 do if not spentOf(link.key, link.budgets[i]) then return true end end
  return false
end
for i, link in ipairs(chain) do
  if link.version < link.key.version then return {'key_changed', i} end
  if isBehind(link) then
    local behind = {}
    for j, other in ipairs(chain) do if isBehind(other) then behind[#behind + 1] = j end end
    return {'load', 0, unpack(behind)}
  end
  if link.key.status ~= 0 then return {'denied', 'key'} end
end

-- The request limit of the chain with the least left: which key, how much, until it is full.
local function tightest()
  local which, least, full = 0, 0, 0
  for i, link in ipairs(chain) do
    if link.limit then
      local remaining, reset = requestsOf(link.key, link.limit)
      if which == 0 or remaining < least then which, least, full = i, remaining, reset end
    end
  end
  return which, least, full
end
for i, link in ipairs(chain) do
  local key = link.key
  if link.concurrency and key.inFlight >= link.concurrency then
    return {'limit', 'concurrency', i, 0, 0, now, tightest()}
  end
  if link.limit then
    local remaining, reset, retry = requestsOf(key, link.limit)
    if retry > 0 then return {'limit', 'requests', i, 0, retry, now, i, remaining, reset} end
  end
  local broken = brokenBudget(key, link.budgets, estimate)
  if broken then return {'limit', 'budget', i, (broken + 1) / 2, 0, now, tightest()} end
end

local drawn = draw(account.purses, needs)
if drawn.short then return {'funds', drawn.available, drawn.held} end

local writes, idle, keys, budgets = {}, {}, {}, {}
for i, link in ipairs(chain) do
  local key = link.key
  key.inFlight, key.held = key.inFlight + 1, key.held + estimate
  if link.limit then
    key.left, key.at = refilled(key, link.limit) - minuteMs, math.max(now, key.at or 0)
  end
  addKey(writes, idle, KEYS[i + 4], key)
  keys[i] = link.id
  for j = 1, #link.budgets, 2 do
    local n = #budgets
    budgets[n + 1], budgets[n + 2], budgets[n + 3] = i, link.budgets[j], link.budgets[j + 1]
  end
end
setAside(account.purses, drawn.parts)
local hold = {state = 'H', account = accountId, due = now + term, estimate = estimate, started = seen.started,
  input = seen.input, output = seen.output, charged = 0, took = 0, lastPurse = 0, lastLease = 0, labels = seen.labels,
  body = packBody(keys, drawn.parts, budgets, facts), record = ''}
local n = #writes
writes[n + 1], writes[n + 2], writes[n + 3], writes[n + 4] = KEYS[3], packAccount(account), KEYS[4], packHold(hold)
save(writes, idle)
setDue(id, hold.due)
local which, remaining, reset = tightest()
return {'ok', drawn.available - sumMoney(drawn.parts), which, remaining, reset, unpack(drawn.parts)}
`

const extend = `
local accountId, estimate, needs = number(), number(), numbers()
local hold = readHold(values[4])
if not hold or hold.recovered then return {'gone'} end
if hold.state ~= 'H' then return {'fenced', hold.state} end
must(hold.account == accountId, 'a command names the account of its hold')
local account = readAccount(values[3])
must(account, 'the account of a live hold is loaded')
openBody(hold)
local names, found = readKeys(hold)
local keys = {}
for i = 1, #names do
  keys[i] = readKey(found[i])
  must(keys[i], 'the keys of a live hold are loaded')
  must(keys[i].inFlight > 0, 'a live hold is in flight at its keys')
end
for i = 1, #hold.budgets, 3 do
  local which = hold.budgets[i]
  if brokenBudget(keys[which], {hold.budgets[i + 1], hold.budgets[i + 2]}, estimate) then
    return {'limit', hold.keys[which]}
  end
end
if account.status ~= 0 then return {'funds', 0} end
local drawn = draw(account.purses, needs)
if drawn.short then return {'funds', drawn.available} end

setAside(account.purses, drawn.parts)
for i = 1, #drawn.parts, partSize do
  local at = findPart(hold.parts, drawn.parts[i], drawn.parts[i + 1])
  if at then
    hold.parts[at + 2] = hold.parts[at + 2] + drawn.parts[i + 2]
  else
    addPart(hold.parts, drawn.parts[i], drawn.parts[i + 1], drawn.parts[i + 2], drawn.parts[i + 3])
  end
end
hold.estimate = hold.estimate + estimate
hold.body = packBody(hold.keys, hold.parts, hold.budgets, hold.facts)
local writes, idle = {KEYS[3], packAccount(account), KEYS[4], packHold(hold)}, {}
for i = 1, #names do
  keys[i].held = keys[i].held + estimate
  addKey(writes, idle, names[i], keys[i])
end
save(writes, idle)
return {'ok', unpack(hold.parts)}
`

const checkpoint = `
local id, accountId, term, seen = text(), number(), number(), metered()
local hold = readHold(values[4])
if not hold then return {'gone'} end
if hold.state ~= 'H' then return {'fenced', hold.state} end
must(hold.account == accountId, 'a command names the account of its hold')
further(hold, seen)
hold.due = now + term
redis.call('SET', KEYS[4], packHold(hold))
setDue(id, hold.due)
return {'ok'}
`

/** Settle, void and reap: the letter of the state, and for a reap what was metered when the reaper looked. */
const end = `
local id, accountId, state, claim = text(), number(), text(), number()
local seen = metered()
local paid, total, charged, lastPurse, lastLease, record = numbers(), number(), number(), number(), number(), text()
local hold = readHold(values[4])
if not hold then return {'gone'} end
if hold.state ~= 'H' then return {'duplicate', hold.state} end
local isSame = seen.started == hold.started and seen.input == hold.input and seen.output == hold.output
  and seen.labels == hold.labels
if state == 'R' and not isSame then return {'moved'} end
must(hold.account == accountId, 'a command names the account of its hold')

openBody(hold)
local writes, idle, aside = {}, {}, nil
if not hold.recovered then aside = hold.parts end
charge(hold, aside, paid, total, writes, idle)
local overflow = 0
for i = 1, #paid, partSize do
  local at = findPart(hold.parts, paid[i], paid[i + 1])
  overflow = overflow + math.max(0, paid[i + 2] - (at and hold.parts[at + 2] or 0))
end
hold.state, hold.due, hold.record, hold.took = state, now + claim, record, total
hold.charged, hold.lastPurse, hold.lastLease = charged, lastPurse, lastLease
writes[#writes + 1], writes[#writes + 2] = KEYS[4], packHold(hold)
save(writes, idle)
setDue(id, hold.due)
return {'ok', overflow}
`

/** Mostly the books charged what the record did; then the rules of accounts and keys are not even made. */
const drop = `
local id, accountId, total = text(), number(), number()
local hold = readHold(values[4])
if not hold then return {'gone'} end
must(hold.account == accountId, 'a command names the account of its hold')
local function dropHold()
  redis.call('DEL', KEYS[4])
  redis.call('ZREM', KEYS[2], id)
  return {'ok'}
end
if hold.state ~= 'H' and total <= hold.took then return dropHold() end
`

const finalise = `
openBody(hold)

-- What nothing was set aside for is carried by the last purse of money that the record or the hold stands on; by the
-- account's last where there is no part at all. A call that tokens alone paid is the wallet's business in the books.
local account = readAccount(values[3])
local purse, lease = nil, nil
if hold.charged == 1 then
  purse, lease = hold.lastPurse, hold.lastLease
else
  for i = 1, #hold.parts, partSize do
    if hold.parts[i + 3] == 0 then purse, lease = hold.parts[i], hold.parts[i + 1] end
  end
end
if #hold.parts == 0 and hold.charged == 0 and account and #account.purses > 0 then
  local at = #account.purses - purseSize + 1
  purse, lease = account.purses[at], account.purses[at + LEASE]
end

local isHeld, aside, paid, unpaid = hold.state == 'H', nil, {}, total - hold.took
if isHeld then
  if not hold.recovered then aside = hold.parts end
  for i = 1, #hold.parts, partSize do
    local amount = math.min(hold.parts[i + 2], unpaid)
    -- How many tokens the books took is not known here: a part in tokens counts as used up.
    if hold.parts[i + 3] == 1 then amount = hold.parts[i + 2] else unpaid = unpaid - amount end
    if amount > 0 then addPart(paid, hold.parts[i], hold.parts[i + 1], amount, hold.parts[i + 3]) end
  end
end
if unpaid > 0 and purse then addPart(paid, purse, lease, unpaid, 0) end
local writes, idle = {}, {}
charge(hold, aside, paid, isHeld and total or total - hold.took, writes, idle)
if #writes > 0 then save(writes, idle) end
return dropHold()
`

const assertHold = `
local id, state, term, account, estimate = text(), text(), number(), number(), number()
local keys, parts, budgets, seen, facts = numbers(), numbers(), numbers(), metered(), text()
local charged, took, lastPurse, lastLease, record = number(), number(), number(), number(), text()
local hold = readHold(values[4])
if hold then must(hold.account == account, 'a command names the account of its hold') end
if hold and hold.state ~= 'H' then return {state == 'H' and 'fenced' or 'duplicate', hold.state} end
if hold then
  further(hold, seen)
else
  hold = {state = state, recovered = true, account = account, estimate = estimate, started = seen.started,
    input = seen.input, output = seen.output, charged = charged, took = took, lastPurse = lastPurse,
    lastLease = lastLease, labels = seen.labels, body = packBody(keys, parts, budgets, facts), record = record}
end
local isLive = hold.state == state
hold.due = now + term
redis.call('SET', KEYS[4], packHold(hold))
setDue(id, hold.due)
if not isLive then return {'duplicate', hold.state} end
return {'ok'}
`

/**
 * Hides the holds whose deadline has passed, and returns them. One of an older epoch, which nobody has asserted in its
 * whole term, is brought into this one, as an assert would: its replica is gone, and its charge is not.
 */
const claim = `
local hide = number()
local taken = {'ok'}
for i = 3, #KEYS do
  local id = text()
  local due = redis.call('ZSCORE', KEYS[2], id)
  if due and tonumber(due) <= now then
    local hold = readHold(values[i], true)
    if hold then
      if hold.isOld then
        hold.recovered = true
        values[i] = packHold(hold)
        redis.call('SET', KEYS[i], values[i])
      end
      setDue(id, now + hide)
      taken[#taken + 1] = id
      taken[#taken + 1] = values[i]
    else
      redis.call('ZREM', KEYS[2], id)
    end
  end
end
return taken
`

const rules = (...parts: readonly string[]): string => [preamble, ...parts].join('')

/** The scripts by what they do. */
export const scriptTexts = {
  admit: rules(accountRules, drawRules, keyRules, holdRules, admit),
  extend: rules(accountRules, drawRules, keyRules, holdRules, endRules, extend),
  checkpoint: rules(holdRules, checkpoint),
  end: rules(accountRules, keyRules, holdRules, endRules, end),
  finalise: rules(holdRules, drop, accountRules, keyRules, endRules, finalise),
  credit: rules(accountRules, credit),
  load_key: rules(keyRules, loadKey),
  stop: rules(accountRules, stop),
  assert: rules(holdRules, assertHold),
  claim: rules(holdRules, claim),
  begin,
} as const

export type ScriptName = keyof typeof scriptTexts
