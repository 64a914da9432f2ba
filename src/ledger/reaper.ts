import type { UsageRecord } from '../core/call.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import { pricedOnly } from '../core/measure.ts'
import type { Nanos } from '../core/money.ts'
import { charge } from '../core/price.ts'
import { rateFor } from '../core/rates.ts'
import { weigh } from '../core/tokens.ts'
import type { Log } from '../ports.ts'
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
/** Epochs entered in one sweep, for what is due under none. */
const enterLimit = 32

/** The record of a call whose gateway died: what was last known to be delivered, and never more than was held. */
export function reapRecord(hold: HoldRecord, nowMs: number): UsageRecord {
  const { facts, metered } = hold
  const rate = rateFor(facts.prices, {
    promptTokens: metered.inputTokens,
    startedAtMs: facts.startedAtMs,
    serviceTier: metered.serviceTier,
  })
  // What is priced by pieces has no price for tokens, and of its pieces nobody has told.
  const delivered = { input: metered.inputTokens, output: metered.outputTokens }
  const counts = metered.started ? pricedOnly(withRequest(delivered, rate), rate.nanos) : {}
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
  const due = await dueIn(home, log)
  if (due.length === 0) return
  const serving = new Map([...ledger.live].map((hold) => [hold.id, hold]))
  const booked = await bookedOf(
    ledger,
    due.filter(({ id, state }) => state === 'held' && !serving.has(id)),
  )
  for (const hold of due) {
    try {
      await sweepOne(ledger, home, { hold, served: serving.get(hold.id), booked })
    } catch (error) {
      log('sweep_failed', { id: hold.id, error: String(error) })
    }
  }
}

/** A store that is away has told so itself, and what is due there waits. */
async function dueIn({ shared, spender }: Home, log: Log): Promise<readonly HoldRecord[]> {
  try {
    const { holds, ownerless = [] } = await shared.claim(sweepLimit, hideMs)
    await Promise.all(ownerless.slice(0, enterLimit).map((name) => enter(spender, name, log)))
    return holds
  } catch (error) {
    if (error instanceof SharedUnavailable) return []
    throw error
  }
}

/** What an idle account left must not wait for its next call: the sweep after this one takes it. */
async function enter(spender: Home['spender'], name: string, log: Log): Promise<void> {
  try {
    await spender.enterAs(name)
  } catch (error) {
    log('epoch_not_entered', { spender: name, error: String(error) })
  }
}

/**
 * What the books charge for calls that are held still. One of them may have been settled while this store did not
 * answer: what it had set aside must not be free for others before its charge is known here. Undefined where the books
 * are away: then nothing is reaped, and what is due comes due again.
 */
async function bookedOf({ platform }: Ledger, held: readonly HoldRecord[]): Promise<Due['booked']> {
  if (held.length === 0) return new Map()
  try {
    const known = await platform.books.booked(held.map(({ id }) => id))
    return new Map(known.map(({ id, total }) => [id, total]))
  } catch {
    return undefined
  }
}

interface Due {
  readonly hold: HoldRecord
  readonly booked: ReadonlyMap<string, Nanos> | undefined
  /** Where this very process serves the call still. */
  readonly served: Hold | undefined
}

/** A hold that this very process still serves is checkpointed instead: it was only late. */
async function sweepOne(ledger: Ledger, { shared }: Home, { hold, served, booked }: Due): Promise<void> {
  const { platform, batcher } = ledger
  const { clock, log } = platform
  const { id, facts, metered } = hold
  const { accountId } = facts
  if (hold.state === 'held') {
    if (served) return served.checkpoint()
    if (!booked) return
    const total = booked.get(id)
    if (total !== undefined) return void (await shared.run({ type: 'finalise', id, accountId, total }))
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
