import type { Shared } from '../ports.ts'
import type { Spender } from './spender.ts'

/** A store of the engine's records, and who spends there. */
export interface Home {
  readonly shared: Shared
  readonly spender: Spender
}

/**
 * Where holds are made. One process serving one database has one home, in its own memory. Several replicas share a
 * store; while that is away each spends small loans of its own from a second home, in memory. A hold may then live in
 * both: each counts what was set aside there, and both hear of its end.
 */
export interface Homes {
  /** Where an account's new holds are made now. */
  of(accountId: number): Home
  /** Where records that a command names may be. */
  readonly all: readonly [Home, ...Home[]]
  /** The second home, for when the first does not answer. */
  readonly spare: Home | undefined
}

export function openHomes(main: Home, spare?: Home): Homes {
  return {
    of: (accountId) => (spare && !main.shared.reaches(accountId) ? spare : main),
    all: spare ? [main, spare] : [main],
    spare,
  }
}
