import { maxHolders, slotMs } from '../core/shared-slots.ts'

/** Limits of calls at once over all replicas (core/shared-slots.ts) in Lua. */

/**
 * KEYS: 1 the limit. Numbers: 3 limit, 4 held, 5 want, 6 how long it is kept. Texts: 3 the replica. The record: for each
 * replica its name, its slots, what it wants, and when it said so.
 */
export const slotsScript = `
local args = {struct.unpack('<' .. string.rep('d', #ARGV[2] / 8), ARGV[2])}
local now, limit, held, want = args[2], args[3], args[4], args[5]
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
end
local value = redis.call('GET', KEYS[1])
local list = value and cmsgpack.unpack(value) or {}
local others, own, free, wanting, isWanted = {}, 0, limit, 1, 0
for i = 1, #list, 4 do
  if math.abs(now - list[i + 3]) < ${slotMs} then
    if list[i] == ARGV[3] then
      own = list[i + 1]
    else
      local n = #others
      others[n + 1], others[n + 2], others[n + 3], others[n + 4] = list[i], list[i + 1], list[i + 2], list[i + 3]
      free = free - list[i + 1]
      if list[i + 2] > 0 then wanting = wanting + 1 end
      if list[i + 2] > list[i + 1] then isWanted = 1 end
    end
  end
end
free = math.max(0, free)
local part, owed = math.max(1, math.floor(limit / wanting)), 0
for i = 1, #others, 4 do owed = owed + math.max(0, math.min(others[i + 2], part) - others[i + 1]) end
local left = math.max(0, free - owed)
local most = own >= part and left or math.max(left, math.min(free, part))
local fair = math.min(want, most)
local granted = math.max(held, fair)
if granted > 0 or want > 0 then
  local n = #others
  others[n + 1], others[n + 2], others[n + 3], others[n + 4] = ARGV[3], granted, want, now
end
local first = math.max(1, #others - 4 * ${maxHolders} + 1)
local record = {}
for i = first, #others do record[#record + 1] = others[i] end
if #record > 0 then
  redis.call('SET', KEYS[1], cmsgpack.pack(record), 'PX', string.format('%.0f', args[6]))
elseif value then
  redis.call('DEL', KEYS[1])
end
return {granted, fair, isWanted}
`
