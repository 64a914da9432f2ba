import type { Clock } from '../ports.ts'

/** Values that are remembered for a short while. The oldest goes when there are too many. */
export interface Recent<Value> {
  get(name: string): Value | undefined
  /** Also what is too old to be given, while it is kept. */
  stale(name: string): Value | undefined
  set(name: string, value: Value): void
  /** Forgets the values that `gone` names; all of them without it. */
  forget(gone?: (value: Value) => boolean): void
}

export interface RecentLimits {
  readonly entries: number
  readonly lifeMs: number
  /** For so long after that a value may still be asked for as stale; without it not at all. */
  readonly staleMs?: number
}

export function createRecent<Value>(clock: Clock, { entries, lifeMs, staleMs = 0 }: RecentLimits): Recent<Value> {
  const kept = new Map<string, { readonly value: Value; readonly untilMs: number }>()
  return {
    get(name) {
      const found = kept.get(name)
      if (found === undefined) return undefined
      if (found.untilMs > clock.elapsed()) return found.value
      if (found.untilMs + staleMs <= clock.elapsed()) kept.delete(name)
      return undefined
    },
    stale: (name) => {
      const found = kept.get(name)
      return found && found.untilMs + staleMs > clock.elapsed() ? found.value : undefined
    },
    set(name, value) {
      // Deleted first, so that the map stays in the order of writing and its first entry is the oldest.
      kept.delete(name)
      kept.set(name, { value, untilMs: clock.elapsed() + lifeMs })
      if (kept.size > entries) kept.delete(kept.keys().next().value ?? name)
    },
    forget(gone) {
      if (gone === undefined) return kept.clear()
      for (const [name, { value }] of kept) if (gone(value)) kept.delete(name)
    },
  }
}
