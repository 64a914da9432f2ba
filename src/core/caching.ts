/** What an operator may decide about answers that identical calls get. */
export interface CachePolicy {
  /** Nobody's; those of callers who ask for it; or those of all who do not refuse it. */
  readonly mode: 'off' | 'ask' | 'on'
  /** An answer is given for so long; a caller may ask for less. */
  readonly ttlMs: number
  /** For so long after that it is still given where no target answers, of whoever asks. 0: never. */
  readonly staleMs: number
  /** What an answer from the cache costs, in parts per million of what it cost first. */
  readonly hitPpm: number
  /** Identical calls at one time wait for the first of them. */
  readonly singleFlight: boolean
}

export const cacheModes = ['off', 'ask', 'on'] as const satisfies readonly CachePolicy['mode'][]

export const defaultCaching: CachePolicy = Object.freeze({
  mode: 'ask',
  ttlMs: 3_600_000,
  staleMs: 0,
  hitPpm: 0,
  singleFlight: false,
})

/**
 * What the cache had to do with an answer, as `x-tollgate-cache` tells it: `bypass` where it was not asked, `stale` where
 * it stood in for targets of which none answered.
 */
export type CacheState = 'hit' | 'miss' | 'bypass' | 'stale'
