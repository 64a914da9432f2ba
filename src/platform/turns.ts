/** Lets calls begin side by side, and a few at a time where many come at once. */
export interface Turns {
  /**
   * Resolves when a call may begin: once the event loop has read all that has come by now. They begin in the order in which
   * they came.
   */
  next(): Promise<void>
  /**
   * The least that a call had to wait in the second before and since, in ms. Beyond the length of a turn it says that the
   * process does not keep up: of a burst that it can take, the first calls hardly wait.
   */
  lateMs(): number
}

/**
 * Calls that begin in one turn of the event loop: some 5 ms of work, after which the streams that run are relayed on.
 * They begin together and go on together, each a step at a time, so that the code of a step is still in the processor's
 * caches for the next call (bench/profile.md).
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

  function nextTurn(): void {
    const now = waiting.slice(0, mostAtOnce)
    waiting = waiting.slice(mostAtOnce)
    if (waiting.length > 0) setImmediate(nextTurn)
    for (const { sinceMs, begin } of now) {
      lateness.note(elapsed() - sinceMs)
      begin()
    }
  }
  return {
    next() {
      const { promise, resolve: begin } = Promise.withResolvers<void>()
      waiting.push({ sinceMs: elapsed(), begin })
      if (waiting.length === 1) setImmediate(nextTurn)
      return promise
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
