import type { Clock } from '../ports.ts'

/** Longer than the longest statement that the database is given time for. */
const silenceMs = 20_000

/** Tells whether something that should be heard of again and again still is. */
export interface Pulse {
  beat(): void
  readonly isAlive: boolean
}

export function openPulse({ elapsed }: Pick<Clock, 'elapsed'>): Pulse {
  let beatAtMs = elapsed()
  return {
    beat() {
      beatAtMs = elapsed()
    },
    // allowed -- one object for the process
    get isAlive() {
      return elapsed() - beatAtMs < silenceMs
    },
  }
}
