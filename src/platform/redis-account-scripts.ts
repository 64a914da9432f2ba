import { maxKept } from '../ledger/engine/invariants.ts'

/** What is done to accounts, keys and cells, in Lua; `redis-scripts.ts` puts the rules before each. */

export const credit = `
local status, loans = number(), numbers()
local account = readAccount(values[3])
local known = account and account.purses or {}
local purses, listed = {}, {}
for i = 1, #loans, 4 do
  local id, lease, lent, expires = loans[i], loans[i + 1], loans[i + 2], loans[i + 3]
  local free, held = lent, 0
  local at = find(known, id, lease)
  if at then
    lent = math.max(lent, known[at + LENT])
    free, held = known[at + FREE] + lent - known[at + LENT], known[at + HELD]
  end
  local n = #purses
  purses[n + 1], purses[n + 2], purses[n + 3], purses[n + 4], purses[n + 5], purses[n + 6] = id, lease, lent, free, held, expires
  listed[id] = true
end
-- Forgetting a purse that is in use would lose something: a later credit on its loan would lend the used part again.
-- An expired one on which nothing is held may go, and beyond a bound those that are used up.
local kept = {}
for i = 1, #known, purseSize do
  local isUsed = known[i + HELD] ~= 0 or (known[i + FREE] ~= known[i + LENT] and not isExpired(known, i))
  if not listed[known[i]] and isUsed then kept[#kept + 1] = i end
end
local surplus = #kept - ${maxKept}
for _, i in ipairs(kept) do
  if surplus > 0 and known[i + HELD] == 0 and known[i + FREE] <= 0 then
    surplus = surplus - 1
  else
    for j = 0, purseSize - 1 do purses[#purses + 1] = known[i + j] end
  end
end
if account and account.status == 2 then status = 2 end
redis.call('SET', KEYS[3], packAccount({status = status, purses = purses}))
return {'ok'}
`

export const loadKey = `
local loaded = {version = number(), status = number(), left = number(), at = number(), windows = numbers()}
local key = readKey(values[3], true)
if not key then
  key = loaded
  key.inFlight, key.held = 0, 0
else
  -- The holds of another epoch do not come back to give their slots back.
  if key.isOld then key.inFlight, key.held = 0, 0 end
  local isNewer = loaded.version > key.version
  if isNewer then key.version, key.status = loaded.version, loaded.status end
  local isRebuilt = key.isOld or (isNewer and key.inFlight == 0)
  for i = 1, #loaded.windows, 3 do
    local at = nil
    for j = 1, #key.windows, 3 do if key.windows[j] == loaded.windows[i] then at = j end end
    local period, spent = loaded.windows[i + 1], loaded.windows[i + 2]
    local isFurther = at and isRebuilt
      and (period > key.windows[at + 1] or (period == key.windows[at + 1] and spent > key.windows[at + 2]))
    if not at or isFurther then
      at = at or #key.windows + 1
      key.windows[at], key.windows[at + 1], key.windows[at + 2] = loaded.windows[i], period, spent
    end
  end
end
local writes, idle = {}, {}
addKey(writes, idle, KEYS[3], key)
save(writes, idle)
return {'ok'}
`

/** 1 stops an account, 2 breaks it: the books cannot open it again in this epoch, whether it was loaded or not. */
export const stop = `
local status = number()
local account = readAccount(values[3])
if not account and status == 1 then return {'ok'} end
account = account or {purses = {}}
account.status = math.max(status, account.status or 0)
redis.call('SET', KEYS[3], packAccount(account))
return {'ok'}
`

/**
 * Marks a cell with a server's run id and an epoch. An epoch counts once: after the server was started anew, only a
 * later one may begin, because what was written under this one may be lost. Returns the epoch that stands, or 0.
 */
export const begin = `
local runId, epoch = ARGV[1], tonumber(ARGV[2])
local mark = redis.call('GET', KEYS[1])
if mark then
  local standing = struct.unpack('>d', mark)
  if epoch <= standing then return {string.sub(mark, 9) == runId and standing or 0} end
end
if epoch == 0 then return {0} end
redis.call('SET', KEYS[1], struct.pack('>d', epoch) .. runId)
return {epoch}
`
