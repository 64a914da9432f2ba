import type { Attempt, Call, Caller, Outcome, Target, Usage, UsageRecord } from '../core/call.ts'
import type { Policies } from '../core/catalog.ts'
import type { Nanos } from '../core/money.ts'
import { charge } from '../core/price.ts'
import type { Admission } from '../admit/admit.ts'
import { splitCharge } from '../ledger/purses.ts'
import type { RelayEnding } from '../meter/relay.ts'
import { pricedCounts, usageRecord } from '../record/usage.ts'
import type { Gateway } from './gateway.ts'

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
  const { hold, prices } = served.admission
  const verdict = await judge(platform.tokenizer.name, served, ending)
  const usage = pricedCounts(verdict.usage, prices)
  const amount = amountDue(served, verdict, usage)
  const record = usageRecord({
    ...served,
    prices,
    kind: isUncharged(verdict) ? 'void' : 'settle',
    outcome: verdict.outcome,
    usage: isUncharged(verdict) ? verdict.usage : usage,
    charge: amount,
    parts: splitCharge(amount, hold.parts, firstPurse(gateway, served)),
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

/** Nothing is charged, not even the price of a request. */
function isUncharged({ usage }: Verdict): boolean {
  return Object.keys(usage.counts).length === 0
}

async function store({ platform }: Gateway, { admission, call, caller }: Served, record: UsageRecord): Promise<void> {
  const { hold } = admission
  try {
    await (record.kind === 'void' ? hold.void(record) : hold.settle(record))
  } catch (error) {
    platform.log('settle_deferred', { id: call.id, error: String(error) })
  }
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

function amountDue({ admission }: Served, verdict: Verdict, usage: Usage): Nanos {
  const { hold, prices } = admission
  if (hold.facts.free || isUncharged(verdict)) return 0n
  const priced = charge(usage.counts, prices)
  return verdict.isCapped && priced > hold.reserved ? hold.reserved : priced
}

/** Where a charge goes that no part was held for. */
function firstPurse({ ledger }: Gateway, { caller, admission }: Served): { purse: number; lease: number } | undefined {
  const part = admission.hold.parts[0]
  if (part) return part
  const purse = ledger.spender.purses(caller.accountId)?.[0]
  return purse && { purse: purse.id, lease: 0 }
}

/** The outcome table of the product's documentation, row by row. */
async function judge(tokenizer: string, served: Served, ending: RelayEnding): Promise<Verdict> {
  const { outcome, delivered } = ending
  if (outcome === 'complete')
    return { outcome, usage: fromVendor(ending) ?? (await counted(tokenizer, served, ending)), isCapped: !ending.usage }
  if (outcome === 'cut') return { outcome, usage: await counted(tokenizer, served, ending), isCapped: true }
  if (outcome === 'client_abort') return judgeAbort(tokenizer, served, ending)
  // Nothing reached the caller: for him the vendor has simply failed.
  if (!delivered) return { outcome: 'vendor_failed', usage: nothing, isCapped: true }
  return { outcome, usage: partly(ending) ?? (await counted(tokenizer, served, ending)), isCapped: true }
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
    const usage = fromVendor(ending)
    if (usage) return { outcome, usage, isCapped: false }
  }
  return { outcome, usage: partly(ending) ?? (await counted(tokenizer, served, ending)), isCapped: true }
}

function fromVendor({ usage }: RelayEnding): Usage | undefined {
  if (!usage || Object.keys(usage.counts).length === 0) return undefined
  return { counts: usage.counts, source: 'vendor', anomalies: usage.anomalies }
}

/** Some vendors tell their count with every event: what they told last stands for what was forwarded. */
function partly(ending: RelayEnding): Usage | undefined {
  const usage = fromVendor(ending)
  return usage && { ...usage, source: 'vendor_partial' }
}

async function counted(tokenizer: string, { admission }: Served, ending: RelayEnding): Promise<Usage> {
  const [input, output] = await Promise.all([admission.promptTokens(), ending.counted()])
  return { counts: { input, output }, source: 'counted', tokenizer }
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
