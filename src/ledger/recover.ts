import type { UsageRecord } from '../core/call.ts'
import type { Books, Clock, Flushed, Log, Shared } from '../ports.ts'
import { reapRecord } from './reaper.ts'
import type { HoldRecord } from './engine/records.ts'

/** Records per batch. */
const batchRows = 500

export interface Recovery {
  readonly books: Books
  readonly shared: Shared & { recover(holds: readonly HoldRecord[]): void }
  /** What an earlier process of ours left behind. Nobody serves these calls any more. */
  readonly holds: readonly HoldRecord[]
  readonly log: Log
  readonly clock: Clock
}

/**
 * Ends what an earlier process left: settled records go to the books, calls in flight are reaped at their last
 * checkpoint. Then the money that was lent to it is given back. Done before the first call is taken; throws when the
 * books do not answer, and nothing is lost by trying again.
 */
export async function recover({ books, shared, holds, log, clock }: Recovery): Promise<void> {
  shared.recover(holds)
  const accounts = new Map(holds.map((hold) => [hold.id, hold.facts.accountId]))
  const finalise = ({ id, total }: Flushed) =>
    shared.run({ type: 'finalise', id, accountId: accounts.get(id) ?? 0, total })
  const records = holds.flatMap((hold) => recordOf(hold, clock.now()) ?? [])
  for (let at = 0; at < records.length; at += batchRows) {
    const batch = records.slice(at, at + batchRows).sort((a, b) => (a.id < b.id ? -1 : 1))
    for (const flushed of await books.flush(batch)) await finalise(flushed)
  }
  for (const hold of holds) if (hold.state === 'voided' && !hold.record) await finalise({ id: hold.id, total: 0n })
  if (holds.length > 0)
    log('holds_recovered', { holds: holds.length, reaped: holds.filter(({ state }) => state === 'held').length })
}

function recordOf(hold: HoldRecord, nowMs: number): UsageRecord | undefined {
  return hold.state === 'held' ? reapRecord(hold, nowMs) : hold.record
}
