import type { Caller, Part, UsageRecord } from '../core/call.ts'
import type { Fleeting } from '../core/fleeting.ts'
import type { Counts, PriceSet } from '../core/price.ts'
import { mostLimit, type TightestLimits } from '../core/rate-limit.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import type { TokenWeights } from '../core/tokens.ts'
import type { Platform } from '../ports.ts'
import { type Batcher, billingUnavailable } from './batcher.ts'
import { type Bill, quoteBill } from './bill.ts'
import type { AdmitReply } from './engine/commands.ts'
import type { HoldFacts, Metered } from './engine/records.ts'
import type { Home, Homes } from './homes.ts'
import { needsFor, openHold } from './live-hold.ts'
import { refusal } from './refusal.ts'

/** Records may be missing and epochs old, each once, and leases short: more rounds than that are a fault. */
const admitRounds = 8
/** Top-ups of one admission: others may take what one brings, and what comes may be no money of use for the call. */
const mostTopUps = 3

/** The ledger as a stage uses it. */
export interface Ledger {
  readonly platform: Platform
  readonly homes: Homes
  readonly batcher: Batcher
  /** Holds of this process, for checkpoints. */
  readonly live: Fleeting<Hold>
  /** False while no call may be admitted, whatever it has. */
  readonly mayAdmit?: () => boolean
  /** Hears of every call that was ended because its gateway died. */
  readonly onReaped?: (record: UsageRecord) => void
}

export interface HoldRequest {
  readonly id: string
  readonly caller: Caller
  readonly model: string
  /** The public name of the model that is called: purses may be for some models only. */
  readonly publicModel: string
  readonly prices: PriceSet
  /** What packages count for the model; absent: money alone can pay for it. */
  readonly tokenWeights?: TokenWeights | undefined
  readonly free: boolean
  readonly stream: boolean
  readonly startedAtMs: number
  readonly inputTokens: number
  readonly outputTokens: number
  /** The service tier that is asked for, and whether audio is: both may make it dearer. */
  readonly serviceTier?: string | undefined
  readonly audio?: boolean
  /** What is used beside tokens, at most. */
  readonly pieces?: Counts
  /** The most output the call should ever give. */
  readonly mostOutputTokens: number
  /** Hears how many tokens it were when the call has ended, if it ends here. */
  readonly ended?: (tokens: number) => void
}

/** What a call has set aside, and the ways it ends. Exactly one of settle and void has an effect. */
export interface Hold {
  readonly id: string
  readonly facts: HoldFacts
  readonly prices: PriceSet
  /** The tightest limits by time, as they were right after the call was let in. */
  readonly left: TightestLimits
  /** Parts set aside so far. */
  parts(): readonly Part[]
  /** True if output of this size is paid for; starts to grow ahead of need. False: wait for `grow`. */
  covers(outputTokens: number): boolean
  /** Grows until the size is covered; false when the money or the hold is gone. */
  grow(outputTokens: number): Promise<boolean>
  /** Tells what was delivered so far, for checkpoints; the relay sets it once content flows. Must not reject. */
  measure: () => Promise<Metered>
  /** True once content was forwarded to the caller. */
  started: boolean
  /** Stores what `measure` says and moves the deadline. */
  checkpoint(): Promise<void>
  settle(record: UsageRecord): Promise<void>
  /** Nothing was delivered. A record is kept where a vendor was called. */
  void(record?: UsageRecord): Promise<void>
}

export { NotFunded, StaleKey } from './refusal.ts'

/** Admits a call: every limit of its keys and its money, in one step. Throws GatewayError when it may not run. */
export async function admitHold(ledger: Ledger, request: HoldRequest): Promise<Hold> {
  if (!ledger.batcher.accepting || ledger.mayAdmit?.() === false) throw billingUnavailable()
  const { caller, prices, free, tokenWeights } = request
  const bill: Bill = free ? { money: 0n } : quoteBill(request, prices, tokenWeights)
  const facts: HoldFacts = {
    accountId: caller.accountId,
    keyIds: caller.chain.map((key) => key.id),
    model: request.model,
    prices,
    ...(tokenWeights && { tokenWeights }),
    free,
    stream: request.stream,
    startedAtMs: request.startedAtMs,
    replica: ledger.platform.settings.replica,
  }
  const metered: Metered = {
    started: false,
    // What was asked for may be a bound of the prompt, and what is metered never shrinks: the first checkpoint counts.
    inputTokens: 0,
    outputTokens: 0,
    vendor: '',
    vendorModel: '',
  }
  const admission: Admission = { request, facts, metered, bill }
  return openHold(ledger, { ...admission, ...(await runAdmit(ledger, admission)) })
}

/** What is asked for, and for whom. */
export interface Admission {
  readonly request: HoldRequest
  readonly facts: HoldFacts
  readonly metered: Metered
  readonly bill: Bill
}

/** What was let in, and where. */
export interface Admitted {
  readonly reply: Extract<AdmitReply, { code: 'ok' }>
  readonly home: Home
  /** Asked first, and not heard of: the hold may be there too. */
  readonly unsure: readonly Home[]
  /** When it was asked for: the hold's term began no earlier, however late the answer comes. */
  readonly askedAtMs: number
}

async function runAdmit(ledger: Ledger, admission: Admission): Promise<Admitted> {
  const { id, caller } = admission.request
  const { homes } = ledger
  const unsure: Home[] = []
  const progress = { topUps: mostTopUps }
  let home = homes.of(caller.accountId)
  for (let round = 0; round < admitRounds; round++) {
    const askedAtMs = ledger.platform.clock.elapsed()
    try {
      const reply = await admitAt(ledger, home, { admission, progress })
      if (reply) return { reply, home, unsure, askedAtMs }
    } catch (error) {
      if (!(error instanceof SharedUnavailable) || !homes.spare || home === homes.spare) throw error
      unsure.push(home)
      home = homes.spare
    }
  }
  throw billingUnavailable(new Error(`hold ${id} found no footing`))
}

interface Step {
  readonly admission: Admission
  /** Top-ups that are left to it; none once the books had no more to lend. */
  readonly progress: { topUps: number }
}

/** Asks once. Undefined where something was missing that is there now. Throws what the caller is told. */
async function admitAt(
  ledger: Ledger,
  home: Home,
  { admission, progress }: Step,
): Promise<Admitted['reply'] | undefined> {
  const { caller } = admission.request
  const { accountId } = caller
  const { spender } = home
  const renewal = spender.renewal(accountId)
  if (renewal) await renewal
  const reply = await tryAdmit(ledger, home, admission)
  if (reply.code === 'ok') {
    spender.saw(accountId, reply.available)
    return reply
  }
  if (reply.code === 'load') {
    if (reply.account) await borrowing(spender.loadAccount(accountId))
    if (reply.keys.length > 0) await borrowing(spender.loadKeys(caller, reply.keys))
  } else if (reply.code === 'epoch') {
    await borrowing(spender.loadAccount(accountId))
  } else if (reply.code === 'funds' && progress.topUps > 0) {
    const isMore = await borrowing(spender.topUp(accountId, admission.bill))
    progress.topUps = isMore ? progress.topUps - 1 : 0
  } else {
    const needs = needsFor(home, admission)
    // A spender who alone has borrowed everything has nothing elsewhere.
    const purses = ledger.homes.spare ? (spender.purses(accountId) ?? []) : []
    throw await refusal(ledger, { reply, caller, bill: admission.bill, needs, purses, shared: home.shared })
  }
  return undefined
}

async function tryAdmit({ platform }: Ledger, home: Home, admission: Admission): Promise<AdmitReply> {
  const { request, facts, metered, bill } = admission
  const { accountId } = request.caller
  // Without its purses a call would look free.
  if (!home.spender.purses(accountId)) return { code: 'load', account: true, keys: [] }
  return home.shared.run({
    type: 'admit',
    id: request.id,
    accountId,
    epoch: home.spender.epochOf(accountId),
    facts,
    keys: request.caller.chain,
    needs: needsFor(home, admission),
    estimate: bill.money,
    tokens: Math.min(mostLimit, request.inputTokens + request.outputTokens),
    metered,
    termMs: platform.settings.termMs,
  })
}

/** The books answer or the call cannot be billed: there is no third way. */
async function borrowing<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw error instanceof SharedUnavailable ? error : billingUnavailable(error)
  }
}
