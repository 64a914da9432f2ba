import { maxKept } from '../ledger/engine/invariants.ts'
import { ofAccount } from './redis-purse-rules.ts'
import { idleKeyMs, ofKey } from './redis-rules.ts'

/** What is done to accounts, keys and cells, in Lua; `redis-scripts.ts` puts the rules before each. */

/** KEYS: 1 the mark, 2 the account. Numbers: 3 status, 4 on the loans, four numbers each. */
export const credit = `
local account, credited, listed = readAccount(values[2]) or {epoch, 0, 0}, {epoch, args[3], 0}, {}
for i = 4, #args - 1, 4 do
  local id, lease, lent, expires = args[i], args[i + 1], args[i + 2], args[i + 3]
  local free, held = lent, 0
  local at = find(account, id, lease)
  if at then
    local before = account[at + ${ofAccount.lent}]
    lent = math.max(lent, before)
    free, held = account[at + ${ofAccount.free}] + lent - before, account[at + ${ofAccount.held}]
  end
  for _, number in ipairs({id, lease, lent, free, held, expires}) do credited[#credited + 1] = number end
  listed[id] = true
end
-- Forgetting a purse that is in use would lose something: a later credit on its loan would lend the used part again.
-- An expired one on which nothing is held may go, and beyond a bound those that are used up.
local kept = {}
for i = ${ofAccount.purses}, 6 * account[${ofAccount.count}], 6 do
  local expires = account[i + ${ofAccount.expires}]
  local isExpired = expires >= 0 and now >= expires
  local isTouched = account[i + ${ofAccount.free}] ~= account[i + ${ofAccount.lent}]
  local isUsed = account[i + ${ofAccount.held}] ~= 0 or (isTouched and not isExpired)
  if not listed[account[i]] and isUsed then kept[#kept + 1] = i end
end
local surplus = #kept - ${maxKept}
for _, i in ipairs(kept) do
  if surplus > 0 and account[i + ${ofAccount.held}] == 0 and account[i + ${ofAccount.free}] <= 0 then
    surplus = surplus - 1
  else
    for j = i, i + 5 do credited[#credited + 1] = account[j] end
  end
end
if account[${ofAccount.status}] == 2 then credited[${ofAccount.status}] = 2 end
credited[${ofAccount.count}] = (#credited - 3) / 6
redis.call('SET', KEYS[2], packAccount(credited))
return {'ok'}
`

/** KEYS: 1 the mark, 2 the key. Numbers: 3 version, 4 status, 5 left and 6 since when or -1, 7 on the windows. */
export const loadKey = `
local key = readKey(values[2], true)
if not key then
  local isLimited = args[5] >= 0
  key = {epoch, args[4], args[3], 0, 0, isLimited and 1 or 0, isLimited and args[5] or 0, isLimited and args[6] or 0, 0, 0}
end
local isOld = key[1] ~= epoch
-- The holds of another epoch do not come back to give their slots back.
if isOld then key[${ofKey.inFlight}], key[${ofKey.held}] = 0, 0 end
local isNewer = args[3] > key[${ofKey.version}]
if isNewer then key[${ofKey.version}], key[${ofKey.status}] = args[3], args[4] end
local isRebuilt = isOld or (isNewer and key[${ofKey.inFlight}] == 0)
for i = 7, #args - 1, 3 do
  local last, at = ${ofKey.count} + 3 * key[${ofKey.count}], nil
  for j = ${ofKey.count + 1}, last, 3 do if key[j] == args[i] then at = j end end
  local period, spent = args[i + 1], args[i + 2]
  local isFurther = at and isRebuilt and (period > key[at + 1] or (period == key[at + 1] and spent > key[at + 2]))
  if not at then
    at, key[${ofKey.count}] = last + 1, key[${ofKey.count}] + 1
    if key[${ofKey.meters}] > 0 then for _ = 1, 3 do table.insert(key, at, 0) end end
  end
  if at > last or isFurther then key[at], key[at + 1], key[at + 2] = args[i], period, spent end
end
local value = packKey(key)
if key[${ofKey.inFlight}] == 0 then
  redis.call('SET', KEYS[2], value, 'PX', '${idleKeyMs}')
else
  redis.call('SET', KEYS[2], value)
end
return {'ok'}
`

/**
 * KEYS: 1 the mark, 2 the account. Numbers: 3 is 1 to stop an account and 2 to break it: the books cannot open it again
 * in this epoch, whether it was loaded or not.
 */
export const stop = `
local account = readAccount(values[2])
if not account and args[3] == 1 then return {'ok'} end
account = account or {epoch, 0, 0}
account[${ofAccount.status}] = math.max(args[3], account[${ofAccount.status}])
redis.call('SET', KEYS[2], packAccount(account))
return {'ok'}
`

/**
 * Marks a cell with a server's run id and an epoch. An epoch counts once: after the server was started anew, only a
 * later one may begin, because what was written under this one may be lost. Returns the epoch that stands, or 0.
 */
export const begin = `
local epoch = struct.unpack('<d', ARGV[1])
local mark = redis.call('GET', KEYS[1])
if mark then
  local standing = struct.unpack('<d', mark)
  if epoch <= standing then return {string.sub(mark, 9) == string.sub(ARGV[1], 9) and standing or 0} end
end
if epoch == 0 then return {0} end
redis.call('SET', KEYS[1], ARGV[1])
return {epoch}
`
