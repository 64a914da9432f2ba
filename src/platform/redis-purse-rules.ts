import { maxPurses } from '../ledger/engine/invariants.ts'

/** The rules of `ledger/engine/purses.ts` in Lua: see `redis-rules.ts` for what stands before them. */

/** An account: epoch, status (0 open, 1 stopped, 2 broken), purses. A purse is six numbers in a row. */
export const accountRules = `
local purseSize, LEASE, LENT, FREE, HELD, EXPIRES = 6, 1, 2, 3, 4, 5
local function readAccount(value)
  if not value then return nil end
  local standing, status, count, at = struct.unpack('>dBH', value)
  if standing ~= epoch then return nil end
  return {status = status, purses = (unpacked(value, count * purseSize, at))}
end

local function packAccount(account)
  local purses = account.purses
  local count = #purses / purseSize
  must(count <= ${maxPurses}, 'an account has a bounded number of purses')
  for i = 1, #purses, purseSize do
    must(purses[i + HELD] >= 0, 'a purse cannot hold less than nothing')
    must(purses[i + FREE] + purses[i + HELD] <= purses[i + LENT], 'a purse cannot have more than it was lent')
    must(purses[i + LENT] <= most and purses[i + FREE] >= -most, 'an amount is exact')
  end
  return struct.pack('>dBH', epoch, account.status, count) .. packed(purses)
end

-- Where a purse stands in the list; on this loan, where one is named.
local function find(purses, id, lease)
  for i = 1, #purses, purseSize do
    if purses[i] == id and (not lease or purses[i + LEASE] == lease) then return i end
  end
end
local function isExpired(purses, at) return purses[at + EXPIRES] >= 0 and now >= purses[at + EXPIRES] end

-- Parts are four numbers in a row: purse, lease, amount, and 0 for money or 1 for tokens.
local partSize = 4
local function addPart(parts, purse, lease, amount, asset)
  local n = #parts
  parts[n + 1], parts[n + 2], parts[n + 3], parts[n + 4] = purse, lease, amount, asset
end
local function findPart(parts, purse, lease)
  for i = 1, #parts, partSize do
    if parts[i] == purse and parts[i + 1] == lease then return i end
  end
end
local function sumMoney(parts)
  local total = 0
  for i = 1, #parts, partSize do if parts[i + 3] == 0 then total = total + parts[i + 2] end end
  return total
end

-- Ends parts: what was set aside is free again, less what is paid. A part on another loan touches nothing.
local function payOut(account, aside, paid)
  local purses = account.purses
  for i = 1, #aside, partSize do
    local at = find(purses, aside[i], aside[i + 1])
    if at then
      must(aside[i + 2] <= purses[at + HELD], 'a purse holds what its holds have set aside')
      purses[at + FREE] = purses[at + FREE] + aside[i + 2]
      purses[at + HELD] = purses[at + HELD] - aside[i + 2]
    end
  end
  for i = 1, #paid, partSize do
    local at = find(purses, paid[i], paid[i + 1])
    if at then purses[at + FREE] = purses[at + FREE] - paid[i + 2] end
  end
end
`

/**
 * Which purse sets aside how much. The share that is still unpaid is an exact fraction, 1 less what each purse gave of
 * what it would have to give: one subtraction while that is the same number for all of them, and long numbers (limbs of
 * seven digits) where purses count in different units.
 */
export const drawRules = `
-- Made only where it is needed, because a script makes its functions anew each time.
local function exactPortion(given, need)
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

-- The smallest whole number that is not below need times the unpaid share: at least 1, at most need.
-- given: for each number that was needed so far, that number and what purses gave of it.
local function portion(given, need)
  if #given == 0 then return need end
  if #given == 2 and given[1] == need then return need - given[2] end
  return exactPortion(given, need)
end
local function give(given, need, amount)
  for i = 1, #given, 2 do
    if given[i] == need then given[i + 1] = given[i + 1] + amount return end
  end
  given[#given + 1] = need
  given[#given + 1] = amount
end

-- Needs are three numbers in a row: purse, amount, and 0 for money or 1 for tokens.
local function draw(purses, needs)
  local drawn = {parts = {}, available = 0, held = 0, short = false}
  local given = {}
  for i = 1, #needs, 3 do if needs[i + 1] > 0 then drawn.short = true end end
  for i = 1, #needs, 3 do
    local at, need, asset = find(purses, needs[i]), needs[i + 1], needs[i + 2]
    if at and not isExpired(purses, at) then
      local free = purses[at + FREE]
      if asset == 0 then drawn.available, drawn.held = drawn.available + free, drawn.held + purses[at + HELD] end
      if drawn.short and need > 0 and free > 0 then
        local wanted = portion(given, need)
        local amount = math.min(wanted, free)
        addPart(drawn.parts, purses[at], purses[at + LEASE], amount, asset)
        give(given, need, amount)
        drawn.short = amount < wanted
      end
    end
  end
  return drawn
end

local function setAside(purses, parts)
  for i = 1, #parts, partSize do
    local at = find(purses, parts[i], parts[i + 1])
    must(at and parts[i + 2] <= purses[at + FREE], 'a hold takes no more than a purse has')
    purses[at + FREE] = purses[at + FREE] - parts[i + 2]
    purses[at + HELD] = purses[at + HELD] + parts[i + 2]
  end
end
`
