import { FleetingSet } from '../core/fleeting.ts'
import type { Clock } from '../ports.ts'

/** After a failure the books are taken as away for this long. */
const failedMs = 1_000
/** A question that is not answered for so long may never be. */
const slowMs = 250

/** Whether the books are away, as far as those who asked them can tell. */
export interface Doubt {
  readonly isOn: boolean
  /** Watches a question to the books. */
  watch<T>(answer: Promise<T>): Promise<T>
}

export function openDoubt(clock: Clock): Doubt {
  const asked = new FleetingSet<{ readonly sinceMs: number }>()
  let failedAtMs = Number.NEGATIVE_INFINITY
  return {
    // allowed -- one object for the process
    get isOn() {
      const now = clock.elapsed()
      const [oldest] = asked
      return now - failedAtMs < failedMs || (oldest !== undefined && now - oldest.sinceMs > slowMs)
    },
    async watch(answer) {
      const question = { sinceMs: clock.elapsed() }
      asked.add(question)
      try {
        return await answer
      } catch (error) {
        failedAtMs = clock.elapsed()
        throw error
      } finally {
        asked.delete(question)
      }
    },
  }
}
