import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the loop is looked at; the delay is by how much that comes late. */
const resolutionMs = 20
/** A delay counts for so long: a second's pause that is over is no load. */
const windowMs = 1_000
/** The mean of a histogram is a walk through all of it, too dear for every call, and it changes no faster than this. */
const readingMs = resolutionMs

/** By how much the event loop of this process is late: the mean over the last second or so, in ms. */
export function watchEventLoop(now: () => number): { readonly lagMs: () => number } {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  let lastMs = 0
  let sinceMs = now()
  let readMs = Number.NEGATIVE_INFINITY
  let lagMs = 0
  const meanMs = (): number => (delays.count === 0 ? 0 : Math.max(0, delays.mean / 1_000_000 - resolutionMs))

  function read(nowMs: number): number {
    if (nowMs - sinceMs < windowMs) return Math.max(lastMs, delays.count < 10 ? 0 : meanMs())
    lastMs = meanMs()
    sinceMs = nowMs
    delays.reset()
    return lastMs
  }
  return {
    lagMs() {
      const nowMs = now()
      if (nowMs - readMs >= readingMs) {
        lagMs = read(nowMs)
        readMs = nowMs
      }
      return lagMs
    },
  }
}
