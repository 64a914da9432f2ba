import type { Clock } from '../ports.ts'

/** Of the calls, so many may be tried once more. */
const share = 0.2
/** So many a second may be tried again whatever the traffic, so that a quiet gateway retries too. */
const perSecond = 10
/** Saved up at most. */
const most = 100

/** Stops storms: when all that fails is tried again, a vendor in trouble gets many times the load that troubled it. */
export interface RetryBudget {
  /** A call has come. */
  called(): void
  /** Takes one try from what is saved; false where nothing is. */
  spend(): boolean
}

export function openRetryBudget(clock: Pick<Clock, 'elapsed'>): RetryBudget {
  let saved = most
  let atMs = clock.elapsed()
  const fill = (): void => {
    const now = clock.elapsed()
    saved = Math.min(most, saved + ((now - atMs) / 1000) * perSecond)
    atMs = now
  }
  return {
    called() {
      saved = Math.min(most, saved + share)
    },
    spend() {
      fill()
      if (saved < 1) return false
      saved -= 1
      return true
    },
  }
}
