import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the loop is looked at; the delay is by how much that comes late. */
const resolutionMs = 20
/** A delay counts for so long: a second's pause that is over is no load. */
const windowMs = 1_000

/** By how much the event loop of this process is late: the mean over the last second or so, in ms. */
export function watchEventLoop(now: () => number): { readonly lagMs: () => number } {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  let lastMs = 0
  let sinceMs = now()
  const meanMs = (): number => (delays.count === 0 ? 0 : Math.max(0, delays.mean / 1_000_000 - resolutionMs))
  return {
    lagMs() {
      if (now() - sinceMs < windowMs) return Math.max(lastMs, delays.count < 10 ? 0 : meanMs())
      lastMs = meanMs()
      sinceMs = now()
      delays.reset()
      return lastMs
    },
  }
}
