import type { UsageRecord } from '../core/call.ts'
import { charge } from '../core/price.ts'
import { rateFor } from '../core/rates.ts'
import { weigh } from '../core/tokens.ts'
import type { HoldRecord } from './engine/records.ts'
import type { Ledger } from './hold.ts'
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
 * One sweep: ends the holds whose deadline passed and sends records again that Postgres has not confirmed.
 * A hold that this very process still serves is checkpointed instead: it was only late.
 */
export async function sweep(ledger: Ledger): Promise<void> {
  const { platform, batcher, live } = ledger
  const { shared, clock, log } = platform
  const serving = new Map([...live].map((hold) => [hold.id, hold]))
  const { holds } = await shared.claim(sweepLimit, hideMs)
  for (const hold of holds) {
    const { accountId } = hold.facts
    if (hold.state === 'held') {
      const served = serving.get(hold.id)
      if (served) {
        await served.checkpoint()
        continue
      }
      const record = reapRecord(hold, clock.now())
      const reply = await shared.run({ type: 'reap', id: hold.id, accountId, metered: hold.metered, record, claimMs })
      if (reply.code !== 'ok') continue
      log('hold_reaped', { id: hold.id, charge: record.charge.toString() })
      batcher.add(record)
    } else if (hold.record) {
      batcher.add(hold.record)
    } else {
      await shared.run({ type: 'finalise', id: hold.id, accountId, total: 0n })
    }
  }
}
