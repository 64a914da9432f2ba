import { FleetingMap } from '../core/fleeting.ts'

/** Names ordered by deadline: an indexed binary heap, so that moving or removing one costs log n and leaves nothing. */
export interface Deadlines {
  readonly size: number
  /** Adds a name or moves its deadline, in ms since 1970. */
  set(id: string, dueMs: number): void
  delete(id: string): void
  /** Up to `limit` names due at `nowMs`, earliest first; each is moved to `hiddenUntilMs`. */
  take(limit: number, nowMs: number, hiddenUntilMs: number): string[]
}

interface Entry {
  readonly id: string
  dueMs: number
  index: number
}

/** An empty set of deadlines. Names due at the same moment come in the order of their text. */
export function createDeadlines(): Deadlines {
  const heap: Entry[] = []
  const entries = new FleetingMap<string, Entry>()

  function swap(one: Entry, other: Entry): void {
    const index = one.index
    place(one, other.index)
    place(other, index)
  }
  function place(entry: Entry, index: number): void {
    heap[index] = entry
    entry.index = index
  }
  function settleIn(entry: Entry): void {
    for (;;) {
      const parent = heap[(entry.index - 1) >> 1]
      if (entry.index === 0 || !parent || !earlier(entry, parent)) break
      swap(entry, parent)
    }
    for (;;) {
      const left = heap[2 * entry.index + 1]
      const right = heap[2 * entry.index + 2]
      const child = left && right && earlier(right, left) ? right : left
      if (!child || !earlier(child, entry)) break
      swap(entry, child)
    }
  }
  function set(id: string, dueMs: number): void {
    const known = entries.get(id)
    const entry = known ?? { id, dueMs, index: heap.length }
    entry.dueMs = dueMs
    if (!known) {
      heap.push(entry)
      entries.set(id, entry)
    }
    settleIn(entry)
  }
  function remove(id: string): void {
    const entry = entries.get(id)
    if (!entry) return
    entries.delete(id)
    const last = heap.pop()
    if (!last || last === entry) return
    place(last, entry.index)
    settleIn(last)
  }
  function take(limit: number, nowMs: number, hiddenUntilMs: number): string[] {
    const due: string[] = []
    // Taken out first and put back after, so that one that stays due is not taken twice.
    for (let first = heap[0]; first && first.dueMs <= nowMs && due.length < limit; first = heap[0]) {
      due.push(first.id)
      remove(first.id)
    }
    for (const id of due) set(id, hiddenUntilMs)
    return due
  }
  return {
    // allowed -- one object for the process
    get size() {
      return heap.length
    },
    set,
    delete: remove,
    take,
  }
}

function earlier(one: Entry, other: Entry): boolean {
  return one.dueMs === other.dueMs ? one.id < other.id : one.dueMs < other.dueMs
}
