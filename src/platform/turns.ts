/** Lets calls that come all at once begin a few at a time. */
export interface Turns {
  /** What the next call has to wait for; undefined: it may begin now. They begin in the order in which they came. */
  next(): Promise<void> | undefined
  /** How long the first of those that wait has waited, in ms; 0 where none does. */
  lateMs(): number
}

/**
 * Calls that begin in one turn of the event loop: some 5 ms of work, after which the streams that run are relayed on.
 * Small batches are also cheaper: a call among 64 at once takes 0.8 of the CPU that it took when all began together
 * (bench/profile.md).
 */
const mostAtOnce = 16

interface Waiting {
  readonly sinceMs: number
  readonly begin: () => void
}

/** `elapsed` is a clock that never goes back, in ms. */
export function openTurns(elapsed: () => number): Turns {
  let waiting: Waiting[] = []
  let begun = 0

  function nextTurn(): void {
    const now = waiting.slice(0, mostAtOnce)
    waiting = waiting.slice(mostAtOnce)
    begun = now.length
    if (begun > 0) setImmediate(nextTurn)
    for (const { begin } of now) begin()
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
      return undefined
    },
    lateMs() {
      const [first] = waiting
      return first ? elapsed() - first.sinceMs : 0
    },
  }
}
