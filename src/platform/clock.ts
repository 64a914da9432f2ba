import type { Clock } from '../ports.ts'

/** The machine's clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(ms, run) {
    // setTimeout takes what is above 2^31 − 1 for 1.
    const timer = setTimeout(run, Math.min(ms, 2_147_483_647))
    // Only Node's timers can be let go; elsewhere the process ends when it is told to.
    if (typeof timer === 'object' && 'unref' in timer) timer.unref()
    return () => clearTimeout(timer)
  },
}
