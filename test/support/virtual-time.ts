import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/ports.ts'

interface Event {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
  isOff: boolean
}

/** A clock whose hours cost nothing: it jumps from one event to the next. */
export interface VirtualTime {
  readonly clock: Clock
  /** Runs everything up to this moment, and whatever follows from it until then. */
  runUntil(ms: number): Promise<void>
  at(ms: number, run: () => void): void
}

/** Time begins at 0 for intervals; dates begin at `epochMs`. */
export function virtualTime(epochMs = 1_700_000_000_000): VirtualTime {
  const heap: Event[] = []
  let now = 0
  let order = 0
  const add = (atMs: number, run: () => void): Event => {
    const event = { atMs, order: order++, run, isOff: false }
    push(heap, event)
    return event
  }
  return {
    clock: {
      now: () => epochMs + Math.floor(now),
      elapsed: () => now,
      after(ms, run) {
        const event = add(now + Math.max(0, ms), run)
        return () => {
          event.isOff = true
        }
      },
    },
    at: (ms, run) => void add(ms, run),
    async runUntil(ms) {
      for (;;) {
        const next = heap[0]
        if (!next || next.atMs > ms) break
        pop(heap)
        if (next.isOff) continue
        now = next.atMs
        next.run()
        // All that waits for a promise goes on before the next event.
        await turn()
      }
      now = ms
    },
  }
}

const before = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    const above = heap[parent]
    if (!above || before(above, event)) break
    heap[at] = above
    heap[parent] = event
    at = parent
  }
}

function pop(heap: Event[]): void {
  const last = heap.pop()
  if (!last || heap.length === 0) return
  let at = 0
  for (;;) {
    const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]]
    const least = right && left && before(right, left) ? right : left
    if (!least || before(last, least)) break
    heap[at] = least
    at = least === right ? 2 * at + 2 : 2 * at + 1
  }
  heap[at] = last
}
