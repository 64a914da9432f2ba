import type { UsageRecord } from '../core/call.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import { charge } from '../core/price.ts'
import { rateFor } from '../core/rates.ts'
import { weigh } from '../core/tokens.ts'
import type { HoldRecord } from './engine/records.ts'
import type { Hold, Ledger } from './hold.ts'
import type { Home } from './homes.ts'
import { splitCharge, sumMoney } from './purses.ts'
import { withRequest } from './size.ts'

/** Holds taken in one sweep. */
const sweepLimit = 500
/** A hold that was taken is not taken again by another sweep for this long. */
const hideMs = 10_000
const claimMs = 10_000

/** The record of a call whose gateway died: what was last known to be delivered, and never more than was held. */
export function reapRecord(hold: HoldRecord, nowMs: number): UsageRecord {
  const { facts, metered } = hold
  const rate = rateFor(facts.prices, {
    promptTokens: metered.inputTokens,
    startedAtMs: facts.startedAtMs,
    serviceTier: metered.serviceTier,
  })
  const counts = metered.started ? withRequest({ input: metered.inputTokens, output: metered.outputTokens }, rate) : {}
  const priced = charge(counts, rate)
  const tokens = facts.tokenWeights && { tokens: weigh(counts, facts.tokenWeights) }
  const parts = splitCharge({ money: facts.free ? 0n : priced, ...tokens }, hold.parts, { isCapped: true })
  return {
    id: hold.id,
    kind: 'reap',
    accountId: facts.accountId,
    keyId: facts.keyIds[0] ?? 0,
    outcome: 'reaped',
    model: facts.model,
    vendor: metered.vendor,
    vendorModel: metered.vendorModel,
    ...(metered.serviceTier !== undefined && { serviceTier: metered.serviceTier }),
    prices: facts.prices,
    ...(rate.lengthTier !== undefined && { lengthTier: rate.lengthTier }),
    usage: { counts, source: 'checkpoint', ...(metered.tokenizer && { tokenizer: metered.tokenizer }) },
    priced,
    charge: sumMoney(parts),
    parts,
    attempts: [],
    stream: facts.stream,
    startedAtMs: facts.startedAtMs,
    endedAtMs: nowMs,
  }
}

/**
 * One sweep: ends the holds whose deadline passed and sends records again that Postgres has not confirmed. One that
 * cannot be ended is logged and comes due again: it must not stand before all that come after it.
 */
export async function sweep(ledger: Ledger): Promise<void> {
  await Promise.all(ledger.homes.all.map((home) => sweepHome(ledger, home)))
}

async function sweepHome(ledger: Ledger, home: Home): Promise<void> {
  const { log } = ledger.platform
  const serving = new Map([...ledger.live].map((hold) => [hold.id, hold]))
  for (const hold of await dueIn(home)) {
    try {
      await sweepOne(ledger, home, { hold, served: serving.get(hold.id) })
    } catch (error) {
      log('sweep_failed', { id: hold.id, error: String(error) })
    }
  }
}

/** A store that is away has told so itself, and what is due there waits. */
async function dueIn({ shared }: Home): Promise<readonly HoldRecord[]> {
  try {
    return (await shared.claim(sweepLimit, hideMs)).holds
  } catch (error) {
    if (error instanceof SharedUnavailable) return []
    throw error
  }
}

interface Due {
  readonly hold: HoldRecord
  /** Where this very process serves the call still. */
  readonly served: Hold | undefined
}

/** A hold that this very process still serves is checkpointed instead: it was only late. */
async function sweepOne(ledger: Ledger, { shared }: Home, { hold, served }: Due): Promise<void> {
  const { platform, batcher } = ledger
  const { clock, log } = platform
  const { id, facts, metered } = hold
  const { accountId } = facts
  if (hold.state === 'held') {
    if (served) return served.checkpoint()
    const record = reapRecord(hold, clock.now())
    const reply = await shared.run({ type: 'reap', id, accountId, metered, record, claimMs })
    if (reply.code !== 'ok') return
    log('hold_reaped', { id, charge: record.charge.toString() })
    batcher.add(record)
    ledger.onReaped?.(record)
  } else if (hold.record) {
    batcher.add(hold.record)
  } else {
    await shared.run({ type: 'finalise', id, accountId, total: 0n })
  }
}
