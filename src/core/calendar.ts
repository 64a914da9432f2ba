/** How often a quota renews. */
export const quotaPeriods = ['day', 'week', 'month'] as const
export type QuotaPeriod = (typeof quotaPeriods)[number]

/** When the periods of a quota begin: at the anchor's time of day in its zone, on its day of the week or month. */
export interface Calendar {
  readonly period: QuotaPeriod
  /** The first period begins here; milliseconds since 1970. */
  readonly anchorMs: number
  /** An IANA name. */
  readonly timeZone: string
}

export interface Period {
  readonly startMs: number
  /** The first moment of the next period. */
  readonly endMs: number
}

/** A moment as a wall clock shows it; a number like Date.UTC's, but of the zone's own reading. */
type Wall = number

const dayMs = 86_400_000
/** Wider than any jump of a clock: Samoa once skipped a whole day. */
const jumpMs = 36 * 3_600_000

/** True for the name of a time zone that this runtime knows. */
export function isTimeZone(name: string): boolean {
  try {
    return wallClock(name) !== undefined
  } catch {
    return false // Intl has no other way to ask.
  }
}

/**
 * The period that a moment lies in; undefined before the anchor. Each start is reckoned from the anchor and never from
 * the start before it, so that 31 January is followed by 28 February and then by 31 March.
 */
export function periodAt(calendar: Calendar, nowMs: number): Period | undefined {
  if (nowMs < calendar.anchorMs) return undefined
  const clock = wallClock(calendar.timeZone)
  const anchor = clock(calendar.anchorMs)
  const start = (n: number) => (n === 0 ? calendar.anchorMs : momentOf(clock, stepped(calendar.period, anchor, n)))
  let n = Math.max(0, whole(calendar.period, anchor, clock(nowMs)) - 1)
  while (start(n + 1) <= nowMs) n += 1
  return { startMs: start(n), endMs: start(n + 1) }
}

/** The start of the calendar's own day, week (from Monday) or month that a moment lies in: an anchor for new quotas. */
export function naturalAnchor(period: QuotaPeriod, timeZone: string, nowMs: number): number {
  const clock = wallClock(timeZone)
  const now = new Date(clock(nowMs))
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()]
  const back = period === 'day' ? 0 : period === 'week' ? (now.getUTCDay() + 6) % 7 : day - 1
  return momentOf(clock, Date.UTC(year, month, day - back))
}

/** How many whole periods lie between two readings, or one more. */
function whole(period: QuotaPeriod, from: Wall, to: Wall): number {
  const [a, b] = [new Date(from), new Date(to)]
  if (period === 'month') return (b.getUTCFullYear() - a.getUTCFullYear()) * 12 + b.getUTCMonth() - a.getUTCMonth()
  return Math.floor((to - from) / (period === 'week' ? 7 * dayMs : dayMs))
}

/** The reading `n` periods after the anchor's. A month that is too short ends the period on its last day. */
function stepped(period: QuotaPeriod, anchor: Wall, n: number): Wall {
  if (period !== 'month') return anchor + n * (period === 'week' ? 7 * dayMs : dayMs)
  const at = new Date(anchor)
  const [year, month] = [at.getUTCFullYear(), at.getUTCMonth() + n]
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate()
  return Date.UTC(year, month, Math.min(at.getUTCDate(), lastDay)) + (anchor - Math.floor(anchor / dayMs) * dayMs)
}

/**
 * When a clock shows a reading: of two such moments the first, and where the clock jumps over it, as much later as it
 * jumps.
 */
function momentOf(clock: (ms: number) => Wall, wall: Wall): number {
  const before = clock(wall - jumpMs) - (wall - jumpMs)
  const after = clock(wall + jumpMs) - (wall + jumpMs)
  const shown = [wall - before, wall - after].filter((ms) => clock(ms) === wall)
  return shown.length > 0 ? Math.min(...shown) : wall - before
}

/** Reads the clock of a zone. Throws RangeError where there is no such zone. */
function wallClock(timeZone: string): (ms: number) => Wall {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  return (ms) => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]))
    const read = (name: string) => Number.parseInt(parts[name] ?? '', 10)
    const second = Date.UTC(read('year'), read('month') - 1, read('day'), read('hour'), read('minute'), read('second'))
    return second + (((ms % 1000) + 1000) % 1000)
  }
}
