import type { Clock } from '../../src/ports.ts'

/** Deterministic randomness: one seed is one world (xoshiro128**). */
export interface Random {
  /** 0 ≤ x < 1. */
  next(): number
  /** A whole number from `low` to `high`, both included. */
  whole(low: number, high: number): number
  chance(share: number): boolean
  pick<T>(of: readonly T[]): T
}

function createRandom(seed: number): Random {
  let [a, b, c, d] = [seed >>> 0, 0x9e3779b9, 0x243f6a88, 0xb7e15162]
  const turn = (x: number, by: number) => (x << by) | (x >>> (32 - by))
  const word = () => {
    const result = Math.imul(turn(Math.imul(b, 5), 7), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = turn(d, 11)
    return result
  }
  // The first words of small seeds resemble each other.
  for (let round = 0; round < 16; round++) word()
  const next = () => word() / 4_294_967_296
  const whole = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))
  return {
    next,
    whole,
    chance: (share) => next() < share,
    pick: (of) => {
      const item = of[whole(0, of.length - 1)]
      if (item === undefined) throw new RangeError('nothing to pick from')
      return item
    },
  }
}

/** Something that runs: what it has put off does not happen once it is dead, and waits while it is paused. */
export interface Owner {
  isAlive: boolean
  pausedUntilMs: number
}

interface Event {
  atMs: number
  readonly order: number
  run: (() => void) | undefined
  readonly owner: Owner | undefined
}

/** Virtual time: events in order, and nothing happens between them. */
export interface World {
  readonly random: Random
  readonly nowMs: number
  /** How many events have happened. */
  readonly events: number
  after(ms: number, run: () => void, owner?: Owner): () => void
  wait(ms: number, owner?: Owner): Promise<void>
  /** Runs until that moment, or until nothing is left to happen. */
  runUntil(ms: number): Promise<void>
  /** The clock of a process; `skewMs` may change while it runs. */
  clockOf(owner: Owner, skew: { skewMs: number }): Clock
}

/** Virtual time begins here: 2026-01-15 10:00 UTC. */
export const beginningMs = Date.UTC(2026, 0, 15, 10)

export function createWorld(seed: number): World {
  const random = createRandom(seed)
  const heap: Event[] = []
  let nowMs = beginningMs
  let order = 0
  let events = 0

  const world: World = {
    random,
    get nowMs() {
      return nowMs
    },
    get events() {
      return events
    },
    after(ms, run, owner) {
      const event: Event = { atMs: nowMs + Math.max(0, ms), order: order++, run, owner }
      push(heap, event)
      return () => {
        event.run = undefined
      }
    },
    wait: (ms, owner) => new Promise((resolve) => world.after(ms, resolve, owner)),
    async runUntil(untilMs) {
      for (;;) {
        const event = heap[0]
        if (!event || event.atMs > untilMs) break
        pop(heap)
        if (!event.run || event.owner?.isAlive === false) continue
        nowMs = event.atMs
        if (event.owner && event.owner.pausedUntilMs > nowMs) {
          push(heap, { ...event, atMs: event.owner.pausedUntilMs, order: order++ })
          continue
        }
        events++
        event.run()
        // Everything that follows from the event without waiting happens now.
        await settled()
      }
      nowMs = Math.max(nowMs, untilMs)
    },
    clockOf: (owner, skew) => ({
      now: () => nowMs + skew.skewMs,
      elapsed: () => nowMs - beginningMs,
      after: (ms, run) => world.after(ms, run, owner),
    }),
  }
  return world
}

/** A turn of the real event loop: by then no promise is left that could go on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

function push(heap: Event[], event: Event): void {
  heap.push(event)
  let at = heap.length - 1
  while (at > 0) {
    const above = (at - 1) >> 1
    if (!isBefore(heap[at]!, heap[above]!)) return
    ;[heap[at], heap[above]] = [heap[above]!, heap[at]!]
    at = above
  }
}

function pop(heap: Event[]): void {
  const last = heap.pop()
  if (!last || heap.length === 0) return
  heap[0] = last
  let at = 0
  for (;;) {
    let least = at
    for (const below of [2 * at + 1, 2 * at + 2])
      if (below < heap.length && isBefore(heap[below]!, heap[least]!)) least = below
    if (least === at) return
    ;[heap[at], heap[least]] = [heap[least]!, heap[at]!]
    at = least
  }
}
