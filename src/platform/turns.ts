/** Lets calls that come all at once begin a few at a time. */
export interface Turns {
  /** What the next call has to wait for; undefined: it may begin now. They begin in the order in which they came. */
  next(): Promise<void> | undefined
  /**
   * The least that a call had to wait in the second before and since, in ms. More than 0 says that the process does not keep
   * up: of a burst that it can take, the first calls wait for nothing.
   */
  lateMs(): number
}

/**
 * Calls that begin in one turn of the event loop: some 5 ms of work, after which the streams that run are relayed on.
 * Small batches are also cheaper: a call among 64 at once takes 0.8 of the CPU that it took when all began together
 * (bench/profile.md).
 */
const mostAtOnce = 16
const windowMs = 1_000

interface Waiting {
  readonly sinceMs: number
  readonly begin: () => void
}

/** `elapsed` is a clock that never goes back, in ms. */
export function openTurns(elapsed: () => number): Turns {
  const lateness = openLateness(elapsed)
  let waiting: Waiting[] = []
  let begun = 0

  function nextTurn(): void {
    const now = waiting.slice(0, mostAtOnce)
    waiting = waiting.slice(mostAtOnce)
    begun = now.length
    if (begun > 0) setImmediate(nextTurn)
    for (const { sinceMs, begin } of now) {
      lateness.note(elapsed() - sinceMs)
      begin()
    }
  }
  return {
    next() {
      if (begun === mostAtOnce) {
        const { promise, resolve: begin } = Promise.withResolvers<void>()
        waiting.push({ sinceMs: elapsed(), begin })
        return promise
      }
      if (begun === 0) setImmediate(nextTurn)
      begun += 1
      lateness.note(0)
      return undefined
    },
    lateMs: lateness.lateMs,
  }
}

/** The least wait of the window before and of the present one so far, once there was a whole window. */
function openLateness(elapsed: () => number) {
  let sinceMs = elapsed()
  let least = Number.POSITIVE_INFINITY
  let lateMs = 0

  function roll(): void {
    const nowMs = elapsed()
    if (nowMs - sinceMs < windowMs) return
    lateMs = Number.isFinite(least) ? least : 0
    least = Number.POSITIVE_INFINITY
    sinceMs = nowMs
  }
  return {
    note(waitMs: number) {
      roll()
      if (waitMs < least) least = waitMs
    },
    lateMs() {
      roll()
      return Math.min(lateMs, least)
    },
  }
}
