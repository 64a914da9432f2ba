import { type Counts, unitNames, units } from './price.ts'

/**
 * Limits of requests and tokens by time, and the meters that count against them. All of it is whole numbers below 2^53,
 * so that a meter never drifts and the same sums in another language of doubles give the same numbers.
 */

export const limitWindows = { second: 1_000, minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const
export type LimitWindow = keyof typeof limitWindows

/**
 * `token_bucket`: the whole limit at once, and it refills evenly. `leaky_bucket`: a tenth of the limit at once, so that
 * calls come evenly. `sliding_window`: the limit in any window, the one before counted by the share that still overlaps.
 */
export const limitAlgorithms = ['token_bucket', 'sliding_window', 'leaky_bucket'] as const
export type LimitAlgorithm = (typeof limitAlgorithms)[number]

export const limitedThings = ['requests', 'tokens'] as const

/** The largest limit: a product of it and a rest of a day stays exact. */
export const mostLimit = 1_000_000_000_000
/** A meter stands still here: far above any limit, and exact. */
export const mostMetered = 1_000_000_000_000_000

export interface RateLimit {
  readonly of: (typeof limitedThings)[number]
  readonly window: LimitWindow
  readonly algorithm: LimitAlgorithm
  /** From 1 to `mostLimit`. */
  readonly limit: number
}

/** What counts against one limit. */
export interface Meter extends RateLimit {
  /** Of a bucket what is in it; of a window what was counted in the one that runs. */
  readonly used: number
  /** Of a bucket the part of one that is in it too, in as many parts as its window has ms; else the window before. */
  readonly rest: number
  /** Of a bucket when it was looked at, of a window its start; ms since 1970. */
  readonly atMs: number
}

/** What is left of a limit; sent as `x-ratelimit-*`. */
export interface LimitLeft {
  readonly limit: number
  readonly remaining: number
  /** Until all of it is there again. */
  readonly resetMs: number
}

/** Of all limits that bind a call those with the least left. */
export interface TightestLimits {
  readonly requests?: LimitLeft
  readonly tokens?: LimitLeft
}

/** As headers of an answer. */
export function limitHeaders(left: TightestLimits): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {}
  for (const of of limitedThings) {
    const one = left[of]
    if (!one) continue
    headers[`x-ratelimit-limit-${of}`] = String(one.limit)
    headers[`x-ratelimit-remaining-${of}`] = String(one.remaining)
    headers[`x-ratelimit-reset-${of}`] = `${Math.ceil(one.resetMs / 1000)}s`
  }
  return headers
}

/** Whether two limits share a meter. */
export function isSameLimit(a: RateLimit, b: RateLimit): boolean {
  return a.of === b.of && a.window === b.window && a.algorithm === b.algorithm
}

/** The most that a meter lets in at once. */
export function capacityOf({ algorithm, limit }: RateLimit): number {
  return algorithm === 'leaky_bucket' ? Math.max(1, (limit - (limit % 10)) / 10) : limit
}

/** The meter of a limit now: another one's counts where it has the same meter, else nothing counted. */
export function meterAt(limit: RateLimit, before: Meter | undefined, nowMs: number): Meter {
  const { of, window, algorithm } = limit
  const { used = 0, rest = 0, atMs = 0 } = before ?? {}
  return advanced({ of, window, algorithm, limit: limit.limit, used, rest, atMs }, nowMs)
}

/**
 * A meter brought to now. A clock that goes back a little gives nothing, so that two clocks that differ do not add up;
 * one that was ahead by more than a window was wrong, and is not waited for.
 */
export function advanced(meter: Meter, nowMs: number): Meter {
  const windowMs = limitWindows[meter.window]
  if (meter.algorithm === 'sliding_window') {
    const start = nowMs - (nowMs % windowMs)
    if (start > meter.atMs)
      return { ...meter, used: 0, rest: start - meter.atMs === windowMs ? meter.used : 0, atMs: start }
    return meter.atMs - start > windowMs ? { ...meter, atMs: start } : meter
  }
  const sinceMs = meter.atMs - nowMs > windowMs ? nowMs : meter.atMs
  const elapsedMs = nowMs - sinceMs
  return elapsedMs > 0 ? { ...leaked(meter, elapsedMs), atMs: nowMs } : { ...meter, atMs: sinceMs }
}

/** A bucket after `limit` times the elapsed share of its window has run out of it; no product here is above 2^53. */
function leaked(meter: Meter, elapsedMs: number): Meter {
  const { limit } = meter
  const windowMs = limitWindows[meter.window]
  const [slow, partMs] = [limit % windowMs, elapsedMs % windowMs]
  const fraction = (partMs * slow) % windowMs
  const whole =
    ((elapsedMs - partMs) / windowMs) * limit +
    ((limit - slow) / windowMs) * partMs +
    (partMs * slow - fraction) / windowMs
  const borrow = meter.rest < fraction ? 1 : 0
  const used = meter.used - whole - borrow
  if (used < 0) return { ...meter, used: 0, rest: 0 }
  return { ...meter, used, rest: meter.rest - fraction + borrow * windowMs }
}

/**
 * What counts now. The meter is one that was brought to now. What is in a bucket is rounded up, and loses nothing by it:
 * the rest stays in it. Of the window before the share is rounded down: rounded up, each window would let in one less
 * than the limit, which of a small one is much; and no window lets in more than the limit either way.
 */
export function levelOf(meter: Meter, nowMs: number): number {
  const { used, rest } = meter
  if (rest === 0) return used
  if (meter.algorithm !== 'sliding_window') return used + 1
  const windowMs = limitWindows[meter.window]
  const leftMs = windowMs - Math.max(0, nowMs - meter.atMs)
  const slow = rest % windowMs
  const fraction = (slow * leftMs) % windowMs
  const whole = ((rest - slow) / windowMs) * leftMs + (slow * leftMs - fraction) / windowMs
  return used + whole
}

/** Whether so much more may be counted. What is larger than the whole limit waits until nothing counts. */
export function hasRoom(meter: Meter, amount: number, nowMs: number): boolean {
  const capacity = capacityOf(meter)
  return levelOf(meter, nowMs) + Math.min(amount, capacity) <= capacity
}

export function counted(meter: Meter, amount: number): Meter {
  return { ...meter, used: Math.min(mostMetered, meter.used + amount) }
}

/** The tokens of a call, whatever they were: units that are priced by the million. */
export function tokensOf(counts: Counts): number {
  const sum = unitNames.reduce((all, unit) => (units[unit].per === 'mtok' ? all + (counts[unit] ?? 0) : all), 0)
  return Math.min(mostLimit, sum)
}

/** What was counted before it was known: how much, and when. */
export interface Reserved {
  readonly tokens: number
  readonly atMs: number
}

/**
 * Puts what was used in the place of what was reserved. A window gives back only what was counted in itself: what is
 * returned of an earlier one would be used a second time.
 */
export function corrected(meter: Meter, reserved: Reserved, used: number): Meter {
  const more = used - reserved.tokens
  if (more >= 0) return counted(meter, more)
  if (meter.algorithm !== 'sliding_window') return returned(meter, -more)
  const windowMs = limitWindows[meter.window]
  const start = reserved.atMs - (reserved.atMs % windowMs)
  if (start >= meter.atMs) return returned(meter, -more)
  return start === meter.atMs - windowMs ? { ...meter, rest: Math.max(0, meter.rest + more) } : meter
}

/** Takes back what was counted just now. */
export function returned(meter: Meter, amount: number): Meter {
  if (meter.used >= amount) return { ...meter, used: meter.used - amount }
  return { ...meter, used: 0, rest: meter.algorithm === 'sliding_window' ? meter.rest : 0 }
}

/** The first wait after which so much has room, if nothing else is counted; 0 for now. */
export function waitMs(meter: Meter, amount: number, nowMs: number): number {
  const windowMs = limitWindows[meter.window]
  const capacity = capacityOf(meter)
  const room = capacity - Math.min(amount, capacity)
  if (hasRoom(meter, amount, nowMs)) return 0
  if (meter.algorithm !== 'sliding_window') {
    const above = BigInt(meter.used - room) * BigInt(windowMs) + BigInt(meter.rest)
    return meter.atMs - nowMs + Number((above + BigInt(meter.limit) - 1n) / BigInt(meter.limit))
  }
  const isInThis = meter.used <= room
  const [overlapping, start] = isInThis ? [meter.rest, meter.atMs] : [meter.used, meter.atMs + windowMs]
  const free = isInThis ? room - meter.used : room
  // The most that may be left of the window: its share of what overlaps is then below one more than is free.
  const leftMs = (BigInt(free + 1) * BigInt(windowMs) - 1n) / BigInt(overlapping)
  return start + Math.max(0, windowMs - Number(leftMs)) - nowMs
}

export function leftOf(meter: Meter, nowMs: number): LimitLeft {
  const capacity = capacityOf(meter)
  const remaining = Math.max(0, capacity - levelOf(meter, nowMs))
  return { limit: meter.limit, remaining, resetMs: waitMs(meter, capacity, nowMs) }
}
