import {
  limitAlgorithms,
  type LimitWindow,
  limitWindows,
  type Meter,
  mostMetered,
  type RateLimit,
} from '../core/rate-limit.ts'
import { holdPlaces, ofHold, ofKey } from './redis-rules.ts'

/**
 * Limits by time (core/rate-limit.ts) in Lua. A meter is five numbers: code, limit, used, rest, since when. Its code is
 * its window's place, and 4 for tokens, and 8 times the place of its algorithm. None of this is run, or even made, for
 * keys that have no such limits. Remainders are `math.fmod`: Lua's own `%` divides first, and rounds.
 */

const windows = Object.keys(limitWindows) as LimitWindow[]

/** What stands for a limit in packed records. */
export function limitCode({ of, window, algorithm }: RateLimit): number {
  return windows.indexOf(window) + (of === 'tokens' ? 4 : 0) + 8 * limitAlgorithms.indexOf(algorithm)
}

/** A meter from its five numbers. */
export function unpackMeter([code = 0, limit = 0, used = 0, rest = 0, atMs = 0]: readonly number[]): Meter {
  const window = windows[code % 4] ?? 'minute'
  const algorithm = limitAlgorithms[Math.floor(code / 8)] ?? 'token_bucket'
  return { of: code % 8 >= 4 ? 'tokens' : 'requests', window, algorithm, limit, used, rest, atMs }
}

/** The length of the window of `code`. */
const windowMs = `local window = (code % 4 == 0 and 1000) or (code % 4 == 1 and 60000) or (code % 4 == 2 and 3600000) or 86400000`
export const isSliding = 'code >= 8 and code < 16'

/** Brings `used`, `rest` and `since` of a meter of `code` and `limit` to now. */
export const advance = `
${windowMs}
if ${isSliding} then
  local start = now - math.fmod(now, window)
  if start > since then
    used, rest, since = 0, start - since == window and used or 0, start
  elseif since - start > window then
    since = start
  end
else
  if since - now > window then since = now end
  local elapsed = now - since
  if elapsed > 0 then
    local slow, part = math.fmod(limit, window), math.fmod(elapsed, window)
    local fraction = math.fmod(part * slow, window)
    local whole = (elapsed - part) / window * limit + (limit - slow) / window * part + (part * slow - fraction) / window
    local borrow = rest < fraction and 1 or 0
    used, rest, since = used - whole - borrow, rest - fraction + borrow * window, now
    if used < 0 then used, rest = 0, 0 end
  end
end
`

/** What counts now, as `level`. */
export const level = `
local level = used
if rest > 0 and ${isSliding} then
  local left, slow = window - math.max(0, now - since), math.fmod(rest, window)
  local fraction = math.fmod(slow * left, window)
  level = used + (rest - slow) / window * left + (slow * left - fraction) / window
elseif rest > 0 then
  level = used + 1
end
`

/** A leaky bucket takes a tenth of its limit at once. */
export const smaller = `if code >= 16 then capacity = math.max(1, (limit - math.fmod(limit, 10)) / 10) end`

/**
 * Of an admission: checks every limit that stands in `args` from `at` on, and counts it in the keys, which are written
 * only if the call is let in. `states` is what meters had before: used, rest and since when of each.
 */
export const countLimits = `
local tokens, full, meters = args[at], 0, {}
for l = at + 1, #args - 1, 3 do
  local i, code, limit, used, rest, since = args[l], args[l + 1], args[l + 2], 0, 0, 0
  local key = keys[i]
  local first = ${ofKey.count + 1} + 3 * key[${ofKey.count}]
  for j = first, first + 5 * key[${ofKey.meters}] - 1, 5 do
    if key[j] == code then used, rest, since = key[j + 2], key[j + 3], key[j + 4] end
  end
  ${advance}
  ${level}
  local amount, capacity = code % 8 >= 4 and tokens or 1, limit
  ${smaller}
  if full == 0 and level + math.min(amount, capacity) > capacity then full = (l - at + 2) / 3 end
  local n, list = #states, meters[i] or {}
  states[n + 1], states[n + 2], states[n + 3] = used, rest, since
  n = #list
  list[n + 1], list[n + 2], list[n + 3], list[n + 4], list[n + 5] =
    code, limit, math.min(${mostMetered}, used + amount), rest, since
  meters[i] = list
  if code % 8 >= 4 then reserved = struct.pack('<ddd', 0, now, tokens) end
end
if full > 0 then return {'limit', 'rate', 0, full, 0, now, tightest()} end
for i, list in pairs(meters) do
  local last = ${ofKey.count} + 3 * keys[i][${ofKey.count}]
  for j = 1, #list do keys[i][last + j] = list[j] end
  keys[i][${ofKey.meters}] = #list / 5
end
`

/** Of the end of a hold: puts `tokens` in the place of what the hold reserved, in the meters of a key. */
export const correctTokens = `
local place, reservedAt, reserved = 1, 0, 0
if hold[${ofHold.budgets}] > 0 then
  local at = ${holdPlaces.lists} + 8 * (hold[${ofHold.keys}] + hold[${ofHold.budgets}] - 3)
  place, reservedAt, reserved = struct.unpack('<ddd', value, at)
end
local first = ${ofKey.count + 1} + 3 * key[${ofKey.count}]
for j = first, place == 0 and first + 5 * key[${ofKey.meters}] - 1 or 0, 5 do
  local code, limit, used, rest, since = key[j], key[j + 1], key[j + 2], key[j + 3], key[j + 4]
  if code % 8 >= 4 then
    ${advance}
    local more = tokens - reserved
    if more >= 0 then
      used = math.min(${mostMetered}, used + more)
    elseif ${isSliding} then
      local start = reservedAt - math.fmod(reservedAt, window)
      if start >= since then
        used = math.max(0, used + more)
      elseif start == since - window then
        rest = math.max(0, rest + more)
      end
    elseif used + more < 0 then
      used, rest = 0, 0
    else
      used = used + more
    end
    key[j + 2], key[j + 3], key[j + 4] = used, rest, since
  end
end
`
