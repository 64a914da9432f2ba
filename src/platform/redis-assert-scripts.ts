import { labelsOf, readOwn } from './redis-purse-rules.ts'
import { holdPlaces, ofHold, partsAt, textName } from './redis-rules.ts'

/** What brings holds from one epoch into another, in Lua; `redis-scripts.ts` puts the rules before each. */

/**
 * Numbers: 3 account, 4 term, 5 estimate, 6 started, 7 input, 8 output, 9 charged, 10 took, 11 last purse, 12 last
 * lease, 13 how many keys, 14 how many numbers of budgets, 15 on the parts. Texts: 3 id, 4 the letter of the state,
 * 5 labels, 6 facts, 7 the usage record or nothing, 8 keys and budgets as the hold keeps them.
 */
export const assertHold = `
local value, due, isLive = values[2], now + args[4], ARGV[4] == 'H'
local hold = readHold(value)
if not hold then
  local parts = {}
  for i = 15, #args - 1 do parts[i - 14] = args[i] end
  hold = {ARGV[4], 1, epoch, args[3], args[13], args[14], #parts, #ARGV[6], args[6], args[7], args[8], due, args[5],
    args[9], args[10], args[11], args[12]}
  redis.call('MSET', KEYS[2], packHead(hold) .. ARGV[8] .. packed(parts) .. ARGV[5], ${textName}, ARGV[6] .. ARGV[7])
  redis.call('ZADD', KEYS[3], due, ARGV[3])
  return {'ok'}
end
if hold[${ofHold.account}] ~= args[3] then broken('a command names the account of its hold') end
if hold[${ofHold.state}] ~= 'H' then return {isLive and 'fenced' or 'duplicate', hold[${ofHold.state}]} end

-- What was drawn elsewhere is known here from now on, and not set aside by that.
local parts, labels = unpacked(value, hold[${ofHold.parts}], ${partsAt}), ${labelsOf}
${readOwn}
for i = 15, #args - 1, 4 do
  local at = findPart(parts, args[i], args[i + 1])
  if not at or args[i + 2] > parts[at + 2] then
    if not own then
      own = {}
      for j = 1, #parts / 4 do own[j] = parts[4 * j - 1] end
    end
    if at then
      parts[at + 2] = args[i + 2]
    else
      addPart(parts, args[i], args[i + 1], args[i + 2], args[i + 3])
      own[#own + 1] = 0
    end
  end
end
if args[8] >= hold[${ofHold.output}] then hold[${ofHold.output}], labels = args[8], ARGV[5] end
hold[${ofHold.input}] = math.max(hold[${ofHold.input}], args[7])
hold[${ofHold.started}] = math.max(hold[${ofHold.started}], args[6])
hold[${ofHold.due}] = due
redis.call('SET', KEYS[2], packParts(hold, value, parts, own, labels))
redis.call('ZADD', KEYS[3], due, ARGV[3])
if not isLive then return {'duplicate', 'H'} end
return {'ok'}
`

/**
 * Hides the holds whose deadline has passed, and returns them. One of an older epoch, which nobody has asserted in its
 * whole term, is brought into this one, as an assert would: its replica is gone, and its charge is not; what was set
 * aside for it in its own epoch is not set aside in this one.
 * KEYS: 1 the mark, then a hold and its text in turns, the deadlines last. Numbers: 3 hide. Texts: 3 on the ids.
 */
export const claim = `
local taken = {'ok'}
for i = 2, #KEYS - 1, 2 do
  local id, name, value = ARGV[i / 2 + 2], KEYS[i], values[i]
  local due = redis.call('ZSCORE', KEYS[#KEYS], id)
  if due and tonumber(due) <= now then
    local hold = readHold(value, true)
    if hold then
      if hold[${ofHold.epoch}] ~= epoch then
        local labels = ${labelsOf}
        local lists = string.sub(value, ${holdPlaces.lists}, ${partsAt} + 8 * hold[${ofHold.parts}] - 1)
        hold[${ofHold.flags}] = 1
        value = packHead(hold) .. lists .. labels
        redis.call('SET', name, value)
      end
      redis.call('ZADD', KEYS[#KEYS], now + args[3], id)
      local n = #taken
      taken[n + 1], taken[n + 2], taken[n + 3] = id, value, values[i + 1]
    else
      redis.call('ZREM', KEYS[#KEYS], id)
    end
  end
end
return taken
`
