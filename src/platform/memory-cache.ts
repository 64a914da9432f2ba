import type { Cache, Clock } from '../ports.ts'

export interface MemoryCacheLimits {
  readonly bytes: number
  readonly entries: number
}

/** What an entry takes beside its bytes, roughly. */
const overheadBytes = 512

/** A cache in this process. What was not asked for the longest goes first when there is too much. */
export function memoryCache(clock: Clock, limits: MemoryCacheLimits): Cache {
  /** In the order in which they were last asked for. */
  const kept = new Map<string, { readonly bytes: Uint8Array; readonly untilMs: number }>()
  let size = 0

  function drop(name: string): void {
    const entry = kept.get(name)
    if (entry && kept.delete(name)) size -= entry.bytes.length + overheadBytes
  }

  return {
    kind: 'memory',
    get(name) {
      const entry = kept.get(name)
      if (!entry) return Promise.resolve(undefined)
      if (entry.untilMs <= clock.elapsed()) {
        drop(name)
        return Promise.resolve(undefined)
      }
      kept.delete(name)
      kept.set(name, entry)
      return Promise.resolve(entry.bytes)
    },
    set(name, bytes, ttlMs) {
      drop(name)
      const added = bytes.length + overheadBytes
      if (added > limits.bytes || limits.entries < 1 || ttlMs <= 0) return Promise.resolve()
      kept.set(name, { bytes, untilMs: clock.elapsed() + ttlMs })
      size += added
      for (const oldest of kept.keys()) {
        if (size <= limits.bytes && kept.size <= limits.entries) break
        drop(oldest)
      }
      return Promise.resolve()
    },
  }
}
