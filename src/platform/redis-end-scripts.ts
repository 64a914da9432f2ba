import { correctTokens } from './redis-meter-rules.ts'
import { accountRules, labelsOf, ofAccount, partRules, readAside } from './redis-purse-rules.ts'
import {
  holdPlaces,
  idleKeyMs,
  keyRules,
  listRules,
  most,
  ofHold,
  ofKey,
  partsAt,
  readKeys,
  textName,
} from './redis-rules.ts'

/** The ways a hold ends, in Lua; `redis-scripts.ts` puts the rules before each. */

/**
 * Counts a charge of `total` at the account and the keys: `aside` is given back, and the parts of `paid` from `first`
 * to `last` are gone; a part on a loan that does not stand here touches nothing. A hold that has ended, or that no key
 * counts, gives no slot back, and what is not loaded is rebuilt from the books when it is. Names and values of what is
 * to be written are in `writes`, and in `idle` those of keys that count nothing in flight: they may go when nobody
 * uses them.
 */
const chargeAll = `
local isCounted = hold[${ofHold.state}] == 'H' and hold[${ofHold.flags}] % 2 == 0
local writes, idle = {}, {}
if account then
  for i = 1, #aside, 4 do
    local at = find(account, aside[i], aside[i + 1])
    if at then
      local free, held, amount = account[at + ${ofAccount.free}], account[at + ${ofAccount.held}], aside[i + 2]
      if amount > held then broken('a purse holds what its holds have set aside') end
      account[at + ${ofAccount.free}], account[at + ${ofAccount.held}] = free + amount, held - amount
    end
  end
  for i = first, last, 4 do
    local at = find(account, paid[i], paid[i + 1])
    if at then account[at + ${ofAccount.free}] = account[at + ${ofAccount.free}] - paid[i + 2] end
  end
  writes[1], writes[2] = KEYS[3], packAccount(account)
elseif isCounted or aside[1] then
  broken('the account of a live hold is loaded')
end
${readKeys}
for i = 1, #names do
  local key = readKey(found[i])
  if key then
    if isCounted then
      local inFlight, held, estimate = key[${ofKey.inFlight}], key[${ofKey.held}], hold[${ofHold.estimate}]
      if inFlight <= 0 then broken('a hold that ends was in flight') end
      if estimate > held then broken('a key holds the estimates of its holds') end
      key[${ofKey.inFlight}], key[${ofKey.held}] = inFlight - 1, held - estimate
      if tokens and key[${ofKey.meters}] > 0 then
        ${correctTokens}
      end
    end
    for j = ${ofKey.count + 1}, total > 0 and ${ofKey.count} + 3 * key[${ofKey.count}] or 0, 3 do
      local period, spent = periodStart(key[j]), key[j + 2]
      if period > key[j + 1] then key[j + 1], spent = period, 0 end
      spent = spent + total
      -- A counter stands still at the most that is exact: every limit is below it.
      key[j + 2] = spent < ${most} and spent or ${most}
    end
    local list = key[${ofKey.inFlight}] == 0 and idle or writes
    local n = #list
    list[n + 1], list[n + 2] = names[i], packKey(key)
  elseif isCounted then
    broken('the keys of a live hold are loaded')
  end
end
`
const saveIdle = `for i = 1, #idle, 2 do redis.call('SET', idle[i], idle[i + 1], 'PX', '${idleKeyMs}') end`

/**
 * Settle, void and reap. Numbers: 3 account, 4 claim, 5 started, 6 input, 7 output, 8 total, 9 charged, 10 last purse,
 * 11 last lease, 12 tokens, 13 on what is paid. Texts: 3 id, 4 the letter of the state, 5 the usage record or nothing, 6 labels;
 * for a reap these and 5 to 7 are what was metered when the reaper looked.
 */
export const end = `
local value = values[2]
local hold = readHold(value)
if not hold then return {'gone'} end
if hold[${ofHold.state}] ~= 'H' then return {'duplicate', hold[${ofHold.state}]} end
if ARGV[4] == 'R' then
  local isSame = args[5] == hold[${ofHold.started}] and args[6] == hold[${ofHold.input}]
    and args[7] == hold[${ofHold.output}] and ARGV[6] == ${labelsOf}
  if not isSame then return {'moved'} end
end
if hold[${ofHold.account}] ~= args[3] then broken('a command names the account of its hold') end

local parts = unpacked(value, hold[${ofHold.parts}], ${partsAt})
${readAside}
local account, paid, first, last, total, overflow = readAccount(values[3]), args, 13, #args - 1, args[8], 0
local tokens = args[12]
for i = first, last, 4 do
  local at = findPart(parts, paid[i], paid[i + 1])
  local above = paid[i + 2] - (at and parts[at + 2] or 0)
  if above > 0 then overflow = overflow + above end
end
${chargeAll}
local due = now + args[4]
hold[${ofHold.state}], hold[${ofHold.due}], hold[${ofHold.charged}] = ARGV[4], due, args[9]
hold[${ofHold.took}], hold[${ofHold.lastPurse}], hold[${ofHold.lastLease}] = total, args[10], args[11]
redis.call('MSET', KEYS[2], packHead(hold) .. string.sub(value, ${holdPlaces.lists}), unpack(writes))
${saveIdle}
if ARGV[5] ~= '' then redis.call('APPEND', ${textName}, ARGV[5]) end
redis.call('ZADD', KEYS[4], due, ARGV[3])
return {'ok', overflow}
`

/**
 * Numbers: 3 account, 4 total. Texts: 3 id. Mostly the books charged what the record did; then the rules of accounts
 * and keys are not even made.
 */
export const finalise = `
local value = values[2]
local hold = readHold(value)
if not hold then return {'gone'} end
if hold[${ofHold.account}] ~= args[3] then broken('a command names the account of its hold') end
local isHeld, total = hold[${ofHold.state}] == 'H', args[4] - hold[${ofHold.took}]
if isHeld or total > 0 then
  ${listRules}
  ${accountRules}
  ${partRules}
  ${keyRules}
  local account, parts = readAccount(redis.call('GET', KEYS[3])), unpacked(value, hold[${ofHold.parts}], ${partsAt})
  ${readAside}
  local paid, unpaid, purse, lease = {}, total, nil, nil
  if not isHeld then aside = {} end
  for i = 1, isHeld and #parts or 0, 4 do
    local amount = math.min(parts[i + 2], unpaid)
    -- How many tokens the books took is not known here: a part in tokens counts as used up.
    if parts[i + 3] == 1 then amount = parts[i + 2] else unpaid = unpaid - amount end
    if amount > 0 then addPart(paid, parts[i], parts[i + 1], amount, parts[i + 3]) end
  end
  -- What nothing was set aside for is carried by the last purse of money that the record or the hold stands on; by the
  -- account's last where there is no part at all. A call that tokens alone paid is the wallet's business in the books.
  for i = 1, #parts, 4 do
    if parts[i + 3] == 0 then purse, lease = parts[i], parts[i + 1] end
  end
  if hold[${ofHold.charged}] == 1 then purse, lease = hold[${ofHold.lastPurse}], hold[${ofHold.lastLease}] end
  if not parts[1] and hold[${ofHold.charged}] == 0 and account and account[${ofAccount.count}] > 0 then
    local at = 6 * account[${ofAccount.count}] - 2
    purse, lease = account[at], account[at + ${ofAccount.lease}]
  end
  if unpaid > 0 and purse then addPart(paid, purse, lease, unpaid, 0) end
  local first, last, tokens = 1, #paid, nil
  ${chargeAll}
  if writes[1] then redis.call('MSET', unpack(writes)) end
  ${saveIdle}
end
redis.call('DEL', KEYS[2], ${textName})
redis.call('ZREM', KEYS[4], ARGV[3])
return {'ok'}
`
