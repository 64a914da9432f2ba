import type { Part } from '../core/call.ts'
import type { Ledger } from './hold.ts'

/** How often a replica tells the books that it lives. */
export const beatMs = 3_000

/**
 * Returns the work of one beat: tells the books which loans this replica may still charge, and how much at most, so
 * that the rest of a frozen loan can be given back.
 */
export function openHeartbeat(ledger: Ledger): () => Promise<void> {
  const { books, settings } = ledger.platform
  /** The books' own time when they answered last: what is summed from here on is no older. */
  let asOfMs: number | undefined

  return async () => {
    const asOf = asOfMs
    const outstanding = outstandingOf(ledger)
    asOfMs = await books.beat({ replica: settings.replica, outstanding, ...(asOf !== undefined && { asOfMs: asOf }) })
  }
}

/** What live holds have set aside and what is charged but not in the books, by loan. */
function outstandingOf({ live, batcher }: Ledger): ReadonlyMap<number, bigint> {
  const sums = new Map<number, bigint>()
  const add = (parts: readonly Part[]) => {
    for (const { lease, amount } of parts) if (lease !== 0) sums.set(lease, (sums.get(lease) ?? 0n) + amount)
  }
  for (const hold of live) add(hold.parts())
  for (const { parts } of batcher.unflushed()) add(parts)
  return sums
}
