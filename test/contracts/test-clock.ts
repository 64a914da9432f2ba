import type { Clock } from '../../src/ports.ts'

/** A clock that stands until it is moved. */
export interface TestClock extends Clock {
  /** Moves on by `ms` and runs what falls due on the way, in order. */
  pass(ms: number): void
}

export function testClock(startMs: number): TestClock {
  let nowMs = startMs
  let timers: { readonly atMs: number; readonly run: () => void }[] = []
  return {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(ms, run) {
      const timer = { atMs: nowMs + ms, run }
      timers.push(timer)
      return () => {
        timers = timers.filter((each) => each !== timer)
      }
    },
    pass(ms) {
      const end = nowMs + ms
      for (;;) {
        const next = timers.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs)[0]
        if (!next) break
        timers = timers.filter((each) => each !== next)
        nowMs = next.atMs
        next.run()
      }
      nowMs = end
    },
  }
}
