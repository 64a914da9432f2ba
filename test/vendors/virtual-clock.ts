import type { Clock } from '../../src/ports.ts'

export interface VirtualClock extends Clock {
  /** Lets time pass; what is due runs in order, and promises get their turn in between. */
  advance(ms: number): Promise<void>
}

/** A clock that stands still until it is told to move. */
export function virtualClock(startMs = 1_700_000_000_000): VirtualClock {
  let nowMs = startMs
  let timers: { readonly atMs: number; readonly run: () => void }[] = []
  return {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(ms, run) {
      const timer = { atMs: nowMs + ms, run }
      timers.push(timer)
      return () => void (timers = timers.filter((other) => other !== timer))
    },
    async advance(ms) {
      const untilMs = nowMs + ms
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve))
        const due = timers.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)[0]
        if (!due) break
        timers = timers.filter((timer) => timer !== due)
        nowMs = Math.max(nowMs, due.atMs)
        due.run()
      }
      nowMs = untilMs
    },
  }
}
