import type { Books, Clock, Log, Shared } from '../ports.ts'
import type { Hold } from './hold.ts'
import { type Homes, openHomes } from './homes.ts'
import { openSpender } from './spender.ts'

export interface HomeParts {
  readonly books: Books
  readonly clock: Clock
  readonly log: Log
  /** This process's own records. */
  readonly own: Shared
  /** The store that several replicas share; then their own records are for when it is away. */
  readonly common?: Shared
  /** Holds of this process. */
  readonly live: Iterable<Hold>
}

/**
 * Opens the homes of a process. What an earlier one of its name has borrowed is given back, and a new epoch begins:
 * whatever that one still owed must be in the books by now, see `recover`. Rejects while the books are away.
 */
export async function openLedgerHomes({ books, clock, log, own, common, live }: HomeParts): Promise<Homes> {
  const spender = openSpender({ books, clock, shared: own, borrowsAll: common === undefined, givesBack: true })
  await spender.giveBack(own.spenderOf(0))
  if (!common) return openHomes({ shared: own, spender })
  const onEpoch = (entered: string) =>
    void assertHolds(
      [...live].filter(({ facts }) => common.spenderOf(facts.accountId) === entered),
      log,
    )
  const main = openSpender({ books, clock, shared: common, borrowsAll: false, onEpoch })
  return openHomes({ shared: common, spender: main }, { shared: own, spender })
}

/** What runs when another epoch begins is asserted in it at once; what fails is tried again by the next checkpoint. */
async function assertHolds(holds: readonly Hold[], log: Log): Promise<void> {
  if (holds.length === 0) return
  const asserted = await Promise.allSettled(holds.map((hold) => hold.checkpoint()))
  const failed = asserted.filter(({ status }) => status === 'rejected').length
  log('holds_asserted', { holds: holds.length, failed })
}
