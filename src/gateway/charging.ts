import type { Attempt, Call, Caller, Outcome, Part, Target, Usage, UsageRecord } from '../core/call.ts'
import type { Policies } from '../core/catalog.ts'
import { pricedOnly } from '../core/measure.ts'
import type { Nanos } from '../core/money.ts'
import { charge, type Counts, type EffectivePrices, type PriceSet } from '../core/price.ts'
import { rateFor, type RateFacts } from '../core/rates.ts'
import { type TokenWeights, weigh } from '../core/tokens.ts'
import { inputTotal, outputTotal } from '../core/usage.ts'
import type { Admission } from '../admit/admit.ts'
import type { Bill } from '../ledger/bill.ts'
import { overflow } from '../ledger/engine/purses.ts'
import { splitCharge, sumMoney } from '../ledger/purses.ts'
import type { RelayEnding } from '../meter/relay.ts'
import { recordedUsage, usageRecord } from '../record/usage.ts'
import type { Gateway } from './gateway.ts'
import { measured, measuredPrompt, type Measuring } from './measured.ts'

/** What of a call is known before it ends. */
export interface Served {
  readonly call: Call
  readonly caller: Caller
  readonly admission: Admission
  readonly policies: Policies
  readonly target: Target | undefined
  readonly attempts: readonly Attempt[]
  /** A vendor had begun to answer. */
  readonly begun: boolean
  /** The prices of another model that has served in place of the one whose prices are pinned. */
  readonly cheaper?: PriceSet
  /** What packages count for each of a unit, in place of what the hold says. */
  readonly tokenWeights?: TokenWeights
  /** What the answer's head says of its route. */
  readonly notes?: Readonly<Record<string, string>>
  /** Hears how the answer ended, before it is charged. */
  readonly heard?: (ending: RelayEnding) => void
}

const nothing: Usage = { counts: {}, source: 'fixed' }

/** One row of the outcome table: what a call is charged for, and whether its charge is bounded by what was held. */
interface Verdict {
  readonly outcome: Outcome
  readonly usage: Usage
  readonly isCapped: boolean
}

/**
 * Charges an ending by the outcome table, once, and returns the charge in nano-units. A store that fails does not
 * fail the call: the record is in the batcher's memory before anything is asked of a store.
 */
export async function chargeEnding(gateway: Gateway, served: Served, ending: RelayEnding): Promise<Nanos> {
  const { platform } = gateway
  served.heard?.(ending)
  const { verdict, rated, prices, usage, parts } = await dueFor(gateway, served, ending)
  const amount = sumMoney(parts)
  const record = usageRecord({
    ...served,
    prices,
    rated,
    kind: isUncharged(verdict) ? 'void' : 'settle',
    outcome: verdict.outcome,
    usage: isUncharged(verdict) ? verdict.usage : usage,
    charge: amount,
    parts,
    endedAtMs: platform.clock.now(),
    firstByteAtMs: ending.firstByteAtMs,
    finish: ending.finish,
    servedModel: ending.servedModel,
    error: ending.error?.code,
    reportedCost: ending.usage?.reportedCost,
  })
  await store(gateway, served, record)
  return amount
}

/** What a whole answer will be charged whose vendor cannot tell its usage, so that its head can say it: in nano-units. */
export async function chargeAhead(gateway: Gateway, served: Served, whole: RelayEnding): Promise<Nanos> {
  const { parts } = await dueFor(gateway, served, whole)
  return sumMoney(parts)
}

interface Due {
  readonly verdict: Verdict
  readonly rated: RateFacts
  readonly prices: PriceSet
  readonly usage: Usage
  readonly parts: readonly Part[]
}

async function dueFor(gateway: Gateway, served: Served, ending: RelayEnding): Promise<Due> {
  const verdict = await judge(gateway.platform.tokenizer.name, served, ending)
  const rated = ratedBy(served, verdict.usage, ending)
  const prices = pricesDue(served, verdict.usage, rated)
  const rate = rateFor(prices, rated)
  const usage = recordedUsage(verdict.usage, rate)
  const parts = partsDue(gateway, { served, verdict }, billOf(served, pricedOnly(usage.counts, rate.nanos), rate))
  return { verdict, rated, prices, usage, parts }
}

/** The pinned prices, or those of the model that has served in its place where they have one for all and come to less. */
function pricesDue({ admission, cheaper }: Served, usage: Usage, rated: RateFacts): PriceSet {
  const { prices } = admission
  if (!cheaper) return prices
  const due = ([prices, cheaper] as const).map((set) => {
    const rate = rateFor(set, rated)
    const { counts, anomalies = [] } = recordedUsage(usage, rate)
    const isWhole = !anomalies.some((anomaly) => anomaly.startsWith('unpriced_'))
    return { isWhole, amount: charge(pricedOnly(counts, rate.nanos), rate) }
  })
  const [pinned, other] = due
  return pinned && other?.isWhole && other.amount < pinned.amount ? cheaper : prices
}

/** Nothing is charged, not even the price of a request. */
function isUncharged({ usage }: Verdict): boolean {
  return Object.keys(usage.counts).length === 0
}

async function store(
  { platform, telemetry }: Gateway,
  { admission, call, caller }: Served,
  record: UsageRecord,
): Promise<void> {
  const { hold } = admission
  try {
    await (record.kind === 'void' ? hold.void(record) : hold.settle(record))
  } catch (error) {
    platform.log('settle_deferred', { id: call.id, error: String(error) })
  }
  telemetry.ended(record, overflow(hold.parts(), record.parts))
  platform.log('call', {
    id: call.id,
    key: caller.publicId,
    model: call.model,
    vendor: record.vendor,
    outcome: record.outcome,
    charge: record.charge.toString(),
    source: record.usage.source,
    ms: record.endedAtMs - record.startedAtMs,
    attempts: record.attempts.length,
    ...(record.error !== undefined && { error: record.error }),
    ...(record.usage.anomalies && { anomalies: record.usage.anomalies }),
  })
}

/** The prompt is what was read in all: a tier by length asks for the whole of it, and prices the whole of it. */
function ratedBy(
  { call, target }: Served,
  { counts }: Usage,
  { serviceTier, usage }: Pick<RelayEnding, 'serviceTier' | 'usage'>,
): RateFacts {
  return {
    promptTokens: inputTotal(counts),
    startedAtMs: call.startedAtMs,
    serviceTier,
    region: usage?.region ?? target?.region,
    speed: usage?.speed,
  }
}

/** What some counts come to, in money and in the tokens of packages. */
function billOf({ admission, tokenWeights: own }: Served, counts: Counts, rate: EffectivePrices): Bill {
  const tokenWeights = own ?? admission.hold.facts.tokenWeights
  return { money: charge(counts, rate), ...(tokenWeights && { tokens: weigh(counts, tokenWeights) }) }
}

/** What each purse pays of a bill: no more than was held where the verdict says so. */
function partsDue(gateway: Gateway, { served, verdict }: { served: Served; verdict: Verdict }, bill: Bill) {
  const { hold } = served.admission
  if (hold.facts.free || isUncharged(verdict)) return []
  const fallback = walletOf(gateway, served)
  return splitCharge(bill, hold.parts(), { isCapped: verdict.isCapped || !fallback, fallback })
}

/** Where a charge goes that no money was held for; charged to it directly. */
function walletOf({ ledger }: Gateway, { caller }: Served): { purse: number; lease: number } | undefined {
  for (const { spender } of ledger.homes.all) {
    const wallet = spender.purses(caller.accountId)?.find(({ kind }) => kind === 'wallet')
    if (wallet) return { purse: wallet.id, lease: 0 }
  }
  return undefined
}

/** The outcome table of the product's documentation, row by row. */
async function judge(tokenizer: string, served: Served, ending: RelayEnding): Promise<Verdict> {
  const { outcome, delivered } = ending
  const { measure } = served.call
  if (measure) return judgeMeasured({ served, measure, tokenizer }, ending)
  if (outcome === 'complete') {
    const usage = await fromBoth(tokenizer, served, ending)
    return { outcome, usage, isCapped: usage.source !== 'vendor' }
  }
  if (outcome === 'cut') return judgeCut(tokenizer, served, ending)
  if (outcome === 'client_abort') return judgeAbort(tokenizer, served, ending)
  // Nothing reached the caller: for him the vendor has simply failed.
  if (!delivered) return { outcome: 'vendor_failed', usage: nothing, isCapped: true }
  return { outcome, usage: await partly(tokenizer, served, ending), isCapped: true }
}

/** The same for what is no conversation: whatever of it was delivered was asked for as a whole. */
async function judgeMeasured(measuring: Measuring, ending: RelayEnding): Promise<Verdict> {
  const { outcome, delivered } = ending
  const { policies, begun } = measuring.served
  const isAbort = outcome === 'client_abort'
  if (outcome === 'complete' || (delivered && !(isAbort && policies.clientAbort === 'void'))) {
    const usage = await measured(measuring, ending)
    return { outcome, usage, isCapped: outcome !== 'complete' || usage.source !== 'vendor' }
  }
  if (!isAbort) return { outcome: 'vendor_failed', usage: nothing, isCapped: true }
  const paysPrompt = !delivered && policies.abortBeforeContent === 'prompt' && begun
  return { outcome, usage: paysPrompt ? await measuredPrompt(measuring) : nothing, isCapped: true }
}

/** The money ran out. Where it did before anything could be forwarded, the caller has got nothing. */
async function judgeCut(tokenizer: string, served: Served, ending: RelayEnding): Promise<Verdict> {
  const usage = (await ending.counted()) === 0 ? nothing : await counted(tokenizer, served, ending)
  return { outcome: 'cut', usage, isCapped: true }
}

async function judgeAbort(tokenizer: string, served: Served, ending: RelayEnding): Promise<Verdict> {
  const outcome = 'client_abort'
  const { policies, begun } = served
  if (!ending.delivered) {
    const paysPrompt = policies.abortBeforeContent === 'prompt' && begun
    return { outcome, usage: paysPrompt ? await prompt(tokenizer, served) : nothing, isCapped: true }
  }
  if (policies.clientAbort === 'void') return { outcome, usage: nothing, isCapped: true }
  if (policies.clientAbort === 'drain' && ending.finish !== undefined) {
    if (fromVendor(ending)) return { outcome, usage: await fromBoth(tokenizer, served, ending), isCapped: false }
  }
  return { outcome, usage: await partly(tokenizer, served, ending), isCapped: true }
}

function fromVendor({ usage }: RelayEnding): Usage | undefined {
  // A prompt has at least one token: a count of nothing is none.
  if (!usage || (!usage.isUnbilled && Object.values(usage.counts).every((count) => count === 0))) return undefined
  return { counts: usage.counts, source: 'vendor', anomalies: usage.anomalies }
}

/** The vendor's count of a whole answer. Of a side that it says nothing about, our own stands in. */
async function fromBoth(tokenizer: string, served: Served, ending: RelayEnding): Promise<Usage> {
  const vendor = fromVendor(ending)
  if (vendor?.counts.input !== undefined && vendor.counts.output !== undefined) return vendor
  const own = await counted(tokenizer, served, ending)
  return vendor ? { ...own, ...vendor, counts: { ...own.counts, ...vendor.counts }, source: 'vendor_partial' } : own
}

/**
 * Some vendors tell their count with every event: what they told with the last one stands for what was forwarded. A
 * count from before that, or one without output, says too little: who hangs up would have the answer for nothing.
 */
async function partly(tokenizer: string, served: Served, ending: RelayEnding): Promise<Usage> {
  const isTold = ending.isUsageFresh && outputTotal(ending.usage?.counts ?? {}) > 0
  if (!isTold) return counted(tokenizer, served, ending)
  const usage = await fromBoth(tokenizer, served, ending)
  return usage.source === 'vendor' ? { ...usage, source: 'vendor_partial' } : usage
}

async function counted(tokenizer: string, { admission }: Served, ending: RelayEnding): Promise<Usage> {
  const [input, output] = await Promise.all([admission.promptTokens(), ending.counted()])
  // Why the vendor's own count did not do.
  const anomalies = ending.usage?.anomalies ?? []
  return { counts: { input, output }, source: 'counted', tokenizer, ...(anomalies.length > 0 && { anomalies }) }
}

async function prompt(tokenizer: string, { admission }: Served): Promise<Usage> {
  return { counts: { input: await admission.promptTokens() }, source: 'counted', tokenizer }
}

/** Nothing was served: the hold is given back, and what was tried stays on record. */
export async function voidCall(gateway: Gateway, served: Served, error: string): Promise<void> {
  const { platform } = gateway
  const { hold, prices } = served.admission
  if (served.attempts.length === 0) return hold.void()
  const record = usageRecord({
    ...served,
    prices,
    rated: ratedBy(served, nothing, { serviceTier: undefined, usage: undefined }),
    kind: 'void',
    outcome: 'vendor_failed',
    usage: nothing,
    charge: 0n,
    parts: [],
    endedAtMs: platform.clock.now(),
    error,
  })
  await store(gateway, served, record)
}
