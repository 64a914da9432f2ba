import type { TryFailure } from '../core/routing.ts'

/** Before the first further round; it doubles with every other one. */
const firstPauseMs = 250
const longestPauseMs = 5_000
/** Callers who were told the same moment must not come back in the same moment. */
const spreadMs = 250

/** How long to wait before another round. */
export interface Pause {
  /** Rounds that are over, from 1. */
  readonly round: number
  /** What failed the last try of each target. */
  readonly failures: readonly TryFailure[]
  /** From 0 up to 1. */
  readonly draw: number
}

/**
 * Milliseconds until it makes sense to try again: what the most patient vendor asks for, else a random part of a pause
 * that doubles. Undefined where no target can do better by then, or where the wait is longer than a caller's patience.
 */
export function pauseBefore({ round, failures, draw }: Pause): number | undefined {
  const hopeful = failures.filter(mayPass)
  if (hopeful.length === 0) return undefined
  const asked = hopeful.flatMap(({ retryAfterMs }) => (retryAfterMs === undefined ? [] : [retryAfterMs]))
  if (asked.length < hopeful.length) return draw * Math.min(longestPauseMs, firstPauseMs * 2 ** (round - 1))
  const soonest = Math.min(...asked)
  return soonest > longestPauseMs ? undefined : soonest + draw * spreadMs
}

/** Whether the same try may go well a little later. */
export function mayPass({ fault }: TryFailure): boolean {
  return fault === 'busy' || fault === 'down'
}
