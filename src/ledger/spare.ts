import type { Ledger } from './hold.ts'
import type { Home } from './homes.ts'

/** Nothing may have been made in the second home for so long before its loans go back. */
const quietMs = 5_000

/**
 * Returns the work of one look at the second home: once the first answers again and nothing is held in the second or
 * outstanding on its loans, what is left of them goes back to the books. `holds` counts the holds in it.
 */
export function openSpare(ledger: Ledger, holds: () => number): () => Promise<void> {
  const { clock } = ledger.platform
  let quietSinceMs: number | undefined

  return async () => {
    const { spare } = ledger.homes
    if (!spare || !spare.spender.mayOwe) return
    const isQuiet = holds() === 0 && !isOwing(ledger, spare)
    quietSinceMs = isQuiet ? (quietSinceMs ?? clock.elapsed()) : undefined
    if (quietSinceMs === undefined || clock.elapsed() - quietSinceMs < quietMs) return
    quietSinceMs = undefined
    await spare.spender.giveBack(spare.shared.spenderOf(0))
  }
}

/** Whether a record that charges one of its loans is not in the books yet. */
function isOwing({ batcher }: Ledger, { spender }: Home): boolean {
  return batcher.unflushed().some(({ parts }) => parts.some(({ lease }) => spender.owes(lease)))
}
