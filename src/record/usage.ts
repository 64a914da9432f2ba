import type { Attempt, Caller, Call, Outcome, Part, Target, Usage, UsageRecord } from '../core/call.ts'
import { pricedOnly } from '../core/measure.ts'
import type { Nanos } from '../core/money.ts'
import { charge, type Counts, priceOf, type PriceSet, type Unit, type UnitPrices, unitsIn } from '../core/price.ts'
import { rateFor, type RateFacts } from '../core/rates.ts'

/**
 * Usage as it is recorded. What of it has no price stays in it as a quantity and is named as an anomaly: a call that was
 * served does not fail for it, and it is not lost. `pricedOnly` (core/measure.ts) says what of it is charged.
 */
export function recordedUsage(usage: Usage, prices: { readonly nanos: UnitPrices }): Usage {
  const counts: Partial<Record<Unit, number>> = {}
  const unpriced: string[] = []
  for (const unit of unitsIn(usage.counts)) {
    const count = usage.counts[unit]
    if (!count) continue
    if (priceOf(prices, unit) === undefined) unpriced.push(`unpriced_${unit}`)
    counts[unit] = count
  }
  if (prices.nanos.request !== undefined) counts.request = 1
  const anomalies = [...(usage.anomalies ?? []), ...unpriced]
  return { ...usage, counts, ...(anomalies.length > 0 && { anomalies }) }
}

export interface RecordFacts {
  readonly call: Call
  readonly caller: Caller
  readonly prices: PriceSet
  readonly kind: UsageRecord['kind']
  readonly outcome: Outcome
  readonly usage: Usage
  readonly target: Target | undefined
  readonly attempts: readonly Attempt[]
  readonly charge: Nanos
  readonly parts: readonly Part[]
  readonly endedAtMs: number
  readonly firstByteAtMs?: number | undefined
  readonly finish?: string | undefined
  readonly servedModel?: string | undefined
  /** By which rate of a price set the call pays; the service tier among them is recorded. */
  readonly rated: RateFacts
  readonly error?: string | undefined
  readonly reportedCost?: Nanos | undefined
}

/** The immutable row of one call. The last attempt carries what this answer costs us. */
export function usageRecord(facts: RecordFacts): UsageRecord {
  const { call, caller, target, usage, rated, firstByteAtMs } = facts
  const rate = rateFor(facts.prices, rated)
  return {
    id: call.id,
    kind: facts.kind,
    accountId: caller.accountId,
    keyId: caller.keyId,
    outcome: facts.outcome,
    model: call.model,
    vendor: target?.vendor ?? '',
    vendorModel: target?.model ?? '',
    prices: facts.prices,
    ...(rate.lengthTier !== undefined && { lengthTier: rate.lengthTier }),
    usage,
    priced: charge(pricedOnly(usage.counts, rate.nanos), rate),
    charge: facts.charge,
    parts: facts.parts,
    attempts: closeLast(facts),
    stream: call.stream,
    startedAtMs: call.startedAtMs,
    endedAtMs: facts.endedAtMs,
    ...(firstByteAtMs !== undefined && { firstByteMs: firstByteAtMs - call.startedAtMs }),
    ...(facts.finish !== undefined && { finish: facts.finish }),
    ...(facts.servedModel !== undefined && { servedModel: facts.servedModel }),
    ...(rated.serviceTier !== undefined && { serviceTier: rated.serviceTier }),
    ...(facts.error !== undefined && { error: facts.error }),
    ...(call.clientRequestId !== undefined && { clientRequestId: call.clientRequestId }),
  }
}

/** The answering attempt ended with the call; its cost is known only now. */
function closeLast({ attempts, target, usage, rated, endedAtMs, reportedCost }: RecordFacts): readonly Attempt[] {
  const last = attempts.at(-1)
  if (!last || last.error !== undefined) return attempts
  return [
    ...attempts.slice(0, -1),
    { ...last, endedAtMs, ...costOf(target, usage.counts, rated), ...(reportedCost !== undefined && { reportedCost }) },
  ]
}

function costOf(
  target: Target | undefined,
  counts: Counts,
  rated: RateFacts,
): { cost: Nanos; costCurrency: string } | undefined {
  const costs = target?.costs
  if (!costs) return undefined
  const rate = rateFor(costs, rated)
  const known = recordedUsage({ counts, source: 'fixed' }, rate)
  return { cost: charge(pricedOnly(known.counts, rate.nanos), rate), costCurrency: costs.currency }
}
