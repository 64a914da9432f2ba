import { maxParts, maxPurses } from '../ledger/engine/invariants.ts'
import { holdPlaces, labelsAt, most, ofHold, partsAt } from './redis-rules.ts'

/** The rules of `ledger/engine/purses.ts` and `own.ts` in Lua: see `redis-rules.ts` for what stands before them. */

/** Where the numbers of an account stand in its list, and those of a purse after its id. */
export const ofAccount = { status: 2, count: 3, purses: 4, lease: 1, lent: 2, free: 3, held: 4, expires: 5 } as const

/** An account: epoch, status (0 open, 1 stopped, 2 broken), how many purses, the purses. A purse is six numbers. */
export const accountRules = `
local function readAccount(value)
  if not value then return nil end
  local account = {struct.unpack('<dBH' .. string.rep('d', (#value - 11) / 8), value)}
  if account[1] == epoch then return account end
end
local function packAccount(account)
  local size = 6 * account[${ofAccount.count}]
  if account[${ofAccount.count}] > ${maxPurses} then broken('an account has a bounded number of purses') end
  for i = ${ofAccount.purses}, size, 6 do
    local lent, free = account[i + ${ofAccount.lent}], account[i + ${ofAccount.free}]
    local held = account[i + ${ofAccount.held}]
    if held < 0 then broken('a purse cannot hold less than nothing') end
    if free + held > lent then broken('a purse cannot have more than it was lent') end
    if lent > ${most} or free < -${most} then broken('an amount is exact') end
  end
  return struct.pack('<dBH' .. string.rep('d', size), unpack(account))
end

-- Where a purse stands in the list; on this loan, where one is named.
local function find(account, id, lease)
  for i = ${ofAccount.purses}, 6 * account[${ofAccount.count}], 6 do
    if account[i] == id and (not lease or account[i + ${ofAccount.lease}] == lease) then return i end
  end
end
`

/** Parts are four numbers in a row: purse, lease, amount, and 0 for money or 1 for tokens. */
export const partRules = `
local function addPart(parts, purse, lease, amount, asset)
  local n = #parts
  parts[n + 1], parts[n + 2], parts[n + 3], parts[n + 4] = purse, lease, amount, asset
end
local function findPart(parts, purse, lease)
  for i = 1, #parts, 4 do
    if parts[i] == purse and parts[i + 1] == lease then return i end
  end
end
`

/**
 * Which purse sets aside how much. The share that is still unpaid is an exact fraction, 1 less what each purse gave of
 * what it would have to give: one subtraction while that is the same number for all of them, and long numbers (limbs of
 * seven digits) where purses count in different units.
 */
export const drawRules = `
-- The smallest whole number that is not below need times the unpaid share: at least 1, at most need.
-- given: for each number that was needed so far, that number and what purses gave of it.
local function portion(given, need)
  if not given[1] then return need end
  if given[1] == need and not given[3] then return need - given[2] end
  local limb = 10000000
  local function long(value)
    local limbs = {}
    repeat
      local digit = math.fmod(value, limb)
      limbs[#limbs + 1] = digit
      value = (value - digit) / limb
    until value == 0
    return limbs
  end
  local function trim(a)
    while #a > 1 and a[#a] == 0 do a[#a] = nil end
    return a
  end
  local function product(a, b)
    local limbs = {}
    for i = 1, #a + #b do limbs[i] = 0 end
    for i = 1, #a do
      local carry = 0
      for j = 1, #b do
        local value = limbs[i + j - 1] + a[i] * b[j] + carry
        limbs[i + j - 1] = value % limb
        carry = math.floor(value / limb)
      end
      limbs[i + #b] = carry
    end
    return trim(limbs)
  end
  local function difference(a, b)
    local limbs, borrow = {}, 0
    for i = 1, #a do
      local value = a[i] - (b[i] or 0) - borrow
      borrow = value < 0 and 1 or 0
      limbs[i] = value + borrow * limb
    end
    return trim(limbs)
  end
  local function isLess(a, b)
    if #a ~= #b then return #a < #b end
    for i = #a, 1, -1 do if a[i] ~= b[i] then return a[i] < b[i] end end
    return false
  end
  local whole = long(1)
  for i = 1, #given, 2 do whole = product(whole, long(given[i])) end
  local rest = whole
  for i = 1, #given, 2 do
    local share = long(given[i + 1])
    for j = 1, #given, 2 do if j ~= i then share = product(share, long(given[j])) end end
    rest = difference(rest, share)
  end
  local wanted, low, high = product(rest, long(need)), 1, need
  while low < high do
    local middle = low + math.floor((high - low) / 2)
    if isLess(product(whole, long(middle)), wanted) then low = middle + 1 else high = middle end
  end
  return low
end

-- Draws on purses for needs, three of the numbers sent in a row each: purse, amount, and 0 for money or 1 for tokens.
-- Tells whether they are short, then what was free and what was held of money. Where they are, nothing may be written.
local function draw(account, first, last, parts)
  local short, available, heldMoney, given = false, 0, 0, {}
  for i = first + 1, last, 3 do if args[i] > 0 then short = true end end
  for i = first, last, 3 do
    local at, need = find(account, args[i]), args[i + 1]
    local expires = at and account[at + ${ofAccount.expires}]
    if at and (expires < 0 or now < expires) then
      local free, held = account[at + ${ofAccount.free}], account[at + ${ofAccount.held}]
      if args[i + 2] == 0 then available, heldMoney = available + free, heldMoney + held end
      if short and need > 0 and free > 0 then
        local amount = portion(given, need)
        short = free < amount
        if short then
          amount = free
          local j = 1
          while given[j] and given[j] ~= need do j = j + 2 end
          given[j], given[j + 1] = need, (given[j + 1] or 0) + amount
        end
        addPart(parts, account[at], account[at + ${ofAccount.lease}], amount, args[i + 2])
        account[at + ${ofAccount.free}], account[at + ${ofAccount.held}] = free - amount, held + amount
      end
    end
  end
  return short, available, heldMoney
end
`

/**
 * What of a hold's parts is set aside here, into `own`: as many numbers as parts, or nil where that is all of them.
 */
export const readOwn = `
local own = nil
if hold[${ofHold.flags}] > 1 then
  own = unpacked(value, #parts / 4, ${partsAt} + 8 * #parts)
elseif hold[${ofHold.flags}] == 1 then
  own = {}
  for i = 1, #parts / 4 do own[i] = 0 end
end
`

/** The parts that are given back when a hold ends, into `aside`. */
export const readAside = `
local aside = parts
if hold[${ofHold.flags}] > 0 then
  ${readOwn}
  aside = {}
  for i = 1, #own do
    if own[i] > 0 then addPart(aside, parts[4 * i - 3], parts[4 * i - 2], own[i], parts[4 * i]) end
  end
end
`

/** The hold with other parts; its labels and everything before the parts stay. */
export const packParts = `
local function packParts(hold, value, parts, own, labels)
  if #parts > ${4 * maxParts} then broken('a hold stands on a bounded number of loans') end
  local isRecovered, aside = hold[${ofHold.flags}] % 2, 0
  for i = 1, own and #own or 0 do aside = aside + own[i] end
  local hasOwn = own ~= nil and (aside > 0 or isRecovered == 0)
  local lists = string.sub(value, ${holdPlaces.lists}, ${partsAt} - 1) .. packed(parts)
  if hasOwn then lists = lists .. packed(own) end
  hold[${ofHold.parts}], hold[${ofHold.flags}] = #parts, isRecovered + (hasOwn and 2 or 0)
  return packHead(hold) .. lists .. labels
end
`

/** Where the labels of `hold` begin; computed before its parts change. */
export const labelsOf = `string.sub(value, ${labelsAt})`
