import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the loop is looked at: a pause that is shorter is not seen. */
const resolutionMs = 10
const nanosPerMs = 1_000_000

/** What this process takes of its machine. */
export interface ProcessFigures {
  readonly residentBytes: number
  readonly heapBytes: number
  /** Sockets, timers and whatever else keeps it busy. */
  readonly resources: number
  /** By how much the event loop was late since the last reading. */
  readonly delayP99Ms: number
  readonly delayMostMs: number
}

/** Watches this process from now on. A reading begins the next one's time. */
export function watchProcess(): { readonly read: () => ProcessFigures } {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  const late = (nanos: number): number => Math.max(0, nanos / nanosPerMs - resolutionMs)
  return {
    read() {
      const isWatched = delays.count > 0
      const delayP99Ms = isWatched ? late(delays.percentile(99)) : 0
      const delayMostMs = isWatched ? late(delays.max) : 0
      delays.reset()
      const { rss: residentBytes, heapUsed: heapBytes } = process.memoryUsage()
      return { residentBytes, heapBytes, resources: process.getActiveResourcesInfo().length, delayP99Ms, delayMostMs }
    },
  }
}
