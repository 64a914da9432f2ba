import { mostMetered } from '../core/rate-limit.ts'
import { maxWants, turnMs, wantMs } from '../core/shared-limit.ts'
import { advance, isSliding, level, smaller } from './redis-meter-rules.ts'

/** Limits over accounts (core/shared-limit.ts) in Lua. They belong to no epoch: no money hangs on them. */

/**
 * KEYS: 1 the limit. Numbers: 3 code, 4 limit, 5 want, 6 back, 7 how long it is kept, 8 least. Texts: 3 the replica. The record:
 * code, limit, used, rest, since when; then for each replica its name, what it wants, and when it said so.
 */
export const lendScript = `
local args = {struct.unpack('<' .. string.rep('d', #ARGV[2] / 8), ARGV[2])}
local now, code, limit, want, back, least = args[2], args[3], args[4], args[5], args[6], args[8]
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
end
local value = redis.call('GET', KEYS[1])
local list = value and cmsgpack.unpack(value) or {}
local used, rest, since = 0, 0, 0
if list[1] == code then used, rest, since = list[3], list[4], list[5] end
${advance}
if used >= back then
  used = used - back
else
  used, rest = 0, ${isSliding} and rest or 0
end
local record, others, waiting = {code, limit, 0, 0, 0}, 0, 0
local first = math.max(6, #list - 3 * ${maxWants - 1} + 1)
for i = first, #list, 3 do
  if list[i] ~= ARGV[3] and math.abs(now - list[i + 2]) < ${wantMs} then
    local n = #record
    record[n + 1], record[n + 2], record[n + 3] = list[i], list[i + 1], list[i + 2]
    others = others + list[i + 1]
    if now - list[i + 2] >= ${turnMs} then waiting = waiting + 1 end
  end
end
if want > 0 then
  local n = #record
  record[n + 1], record[n + 2], record[n + 3] = ARGV[3], want, now
end
${level}
local capacity = limit
${smaller}
local free = math.max(0, capacity - level)
local granted = math.min(want, free, math.max(least, math.floor(free / (waiting + 1)), free - others))
if granted < least then granted = 0 end
used = math.min(${mostMetered}, used + granted)
record[3], record[4], record[5] = used, rest, since
redis.call('SET', KEYS[1], cmsgpack.pack(record), 'PX', string.format('%.0f', args[7]))
return {granted, used, rest, since, now}
`
