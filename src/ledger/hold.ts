import type { Caller, Part, UsageRecord } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import type { PriceSet } from '../core/price.ts'
import type { TokenWeights } from '../core/tokens.ts'
import type { Platform } from '../ports.ts'
import { type Batcher, billingUnavailable } from './batcher.ts'
import { type Bill, coveredBy, needsOf, needsOfShare, quoteBill, uncovered } from './bill.ts'
import type { AdmitReply, RequestsLeft } from './engine/commands.ts'
import type { HoldFacts, Metered } from './engine/records.ts'
import { sumMoney } from './engine/purses.ts'
import { refusal } from './refusal.ts'
import { coveredOutput, nextStep } from './size.ts'
import type { Spender } from './spender.ts'

/** A settled record is sent to Postgres again when it was not finalised within this time. */
const claimMs = 10_000
/** Records may be missing, leases short and epochs old, each once: more rounds than that are a fault. */
const admitRounds = 6
/** Within this share of its term since the last acknowledged checkpoint a hold may be spent (the self-fence). */
const fenceShare = 0.8
/** Tokens by which the estimate of a very short answer may be too high. */
const estimateSlack = 64
/** A refused extension is not asked for again ahead of need for this long. */
const refusedPauseMs = 500
/** The first extension, in output tokens. */
const firstStep = 1_024

/** The ledger as a stage uses it. */
export interface Ledger {
  readonly platform: Platform
  readonly spender: Spender
  readonly batcher: Batcher
  /** Holds of this process, for checkpoints. */
  readonly live: Set<Hold>
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
  /** The most output the call should ever give. */
  readonly mostOutputTokens: number
}

/** What a call has set aside, and the ways it ends. Exactly one of settle and void has an effect. */
export interface Hold {
  readonly id: string
  readonly facts: HoldFacts
  readonly prices: PriceSet
  readonly requests: RequestsLeft | undefined
  /** Parts set aside so far. */
  readonly parts: readonly Part[]
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
  if (!ledger.batcher.accepting) throw billingUnavailable()
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
  const reply = await runAdmit(ledger, { request, facts, metered, bill })
  return openHold(ledger, { request, facts, metered, bill, reply })
}

interface Admission {
  readonly request: HoldRequest
  readonly facts: HoldFacts
  readonly metered: Metered
  readonly bill: Bill
}

async function runAdmit(ledger: Ledger, admission: Admission): Promise<Extract<AdmitReply, { code: 'ok' }>> {
  const { caller, id } = admission.request
  let toppedUp = false
  const renewal = ledger.spender.renewal(caller.accountId)
  if (renewal) await renewal
  for (let round = 0; round < admitRounds; round++) {
    const reply = await tryAdmit(ledger, admission)
    if (reply.code === 'ok') {
      ledger.spender.saw(caller.accountId, reply.available)
      return reply
    }
    if (reply.code === 'load') {
      if (reply.account) await borrowing(ledger.spender.loadAccount(caller.accountId))
      if (reply.keys.length > 0) await borrowing(ledger.spender.loadKeys(caller, reply.keys))
    } else if (reply.code === 'epoch') {
      await borrowing(ledger.spender.loadAccount(caller.accountId))
    } else if (reply.code === 'funds' && !toppedUp) {
      toppedUp = true
      await borrowing(ledger.spender.topUp(caller.accountId, admission.bill))
    } else {
      throw await refusal(ledger, { reply, caller, bill: admission.bill, needs: needsFor(ledger, admission) })
    }
  }
  throw billingUnavailable(new Error(`hold ${id} found no footing`))
}

async function tryAdmit({ platform, spender }: Ledger, admission: Admission): Promise<AdmitReply> {
  const { request, facts, metered, bill } = admission
  // Without its purses a call would look free.
  if (!spender.purses(request.caller.accountId)) return { code: 'load', account: true, keys: [] }
  return platform.shared.run({
    type: 'admit',
    id: request.id,
    accountId: request.caller.accountId,
    epoch: spender.epoch,
    facts,
    keys: request.caller.chain,
    needs: needsFor({ spender }, admission),
    estimate: bill.money,
    metered,
    termMs: platform.settings.termMs,
  })
}

function needsFor({ spender }: Pick<Ledger, 'spender'>, { request, bill }: Pick<Admission, 'request' | 'bill'>) {
  return needsOf(spender.purses(request.caller.accountId) ?? [], request.publicModel, bill)
}

/** The books answer or the call cannot be billed: there is no third way. */
async function borrowing(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    throw billingUnavailable(error)
  }
}

interface Opening {
  readonly request: HoldRequest
  readonly facts: HoldFacts
  readonly metered: Metered
  readonly bill: Bill
  readonly reply: Extract<AdmitReply, { code: 'ok' }>
}

/** Everything that an open hold remembers beside its records in the engine. */
interface State extends Opening {
  readonly ledger: Ledger
  parts: readonly Part[]
  /** What budgets count, in money. */
  estimate: Nanos
  /** Output tokens that are paid for. */
  room: number
  /** Output tokens of the next extension. */
  step: number
  /** When the engine last confirmed the hold. */
  ackedAtMs: number
  /** The engine has ended the hold: nothing more may be forwarded on it. */
  isLost: boolean
  growing: Promise<boolean> | undefined
  /** After a refusal the hold does not ask again ahead of need before this moment. */
  askAgainAtMs: number
}

function openHold(ledger: Ledger, opening: Opening): Hold {
  const { request, facts, metered, reply } = opening
  const { clock, shared, settings } = ledger.platform
  const { id, prices } = request
  const { accountId } = facts
  const state: State = {
    ...opening,
    ledger,
    parts: reply.parts,
    estimate: opening.bill.money,
    room: facts.free ? Number.POSITIVE_INFINITY : roomOf(request, reply.parts),
    step: firstStep,
    ackedAtMs: clock.elapsed(),
    isLost: false,
    growing: undefined,
    askAgainAtMs: 0,
  }
  const hold: Hold = {
    id,
    facts,
    prices,
    requests: reply.requests,
    started: false,
    measure: () => Promise.resolve(metered),
    get parts() {
      return state.parts
    },
    covers: (outputTokens) => covers(state, outputTokens),
    grow: (outputTokens) => growTo(state, hold, outputTokens),
    async checkpoint() {
      const answer = await shared.run({
        type: 'checkpoint',
        id,
        accountId,
        metered: await hold.measure(),
        termMs: settings.termMs,
      })
      if (answer.code === 'ok') state.ackedAtMs = clock.elapsed()
      else state.isLost = true
    },
    async settle(record) {
      ledger.live.delete(hold)
      ledger.batcher.add(record)
      await shared.run({ type: 'settle', id, accountId, record, claimMs })
    },
    async void(record) {
      ledger.live.delete(hold)
      if (record) ledger.batcher.add(record)
      await shared.run({ type: 'void', id, accountId, claimMs, ...(record && { record }) })
      if (!record) await shared.run({ type: 'finalise', id, accountId, total: 0n })
    },
  }
  ledger.live.add(hold)
  return hold
}

/** The self-fence: a hold that was not confirmed for most of its term may be the reaper's already. */
function isFenced({ isLost, ackedAtMs, ledger }: State): boolean {
  return isLost || ledger.platform.clock.elapsed() - ackedAtMs > ledger.platform.settings.termMs * fenceShare
}

function covers(state: State, outputTokens: number): boolean {
  if (isFenced(state)) return false
  const { mostOutputTokens } = state.request
  // Once the whole bound is paid for, the vendor keeps to it: sizes here are estimates and run up to twice too high.
  if (state.room >= mostOutputTokens && outputTokens <= 2 * mostOutputTokens + estimateSlack) return true
  // Ahead of need, so that a stream seldom waits: when less than a quarter of the next step is left.
  const isNear = outputTokens + state.step / 4 > state.room
  if (isNear && state.ledger.platform.clock.elapsed() >= state.askAgainAtMs) void extendOnce(state)
  return outputTokens <= state.room
}

async function growTo(state: State, hold: Hold, outputTokens: number): Promise<boolean> {
  if (isFenced(state) && !state.isLost) await hold.checkpoint().catch(() => {})
  while (!covers(state, outputTokens) && !isFenced(state)) if (!(await extendOnce(state))) break
  return covers(state, outputTokens)
}

/** One extension at a time; a store that is away counts as a refusal. */
function extendOnce(state: State): Promise<boolean> {
  state.growing ??= extend(state)
    .catch(() => false)
    .then((isMore) => {
      state.growing = undefined
      if (!isMore) state.askAgainAtMs = state.ledger.platform.clock.elapsed() + refusedPauseMs
      return isMore
    })
  return state.growing
}

/** Sets the next step aside; where the money is short of it, as much as there is. False when nothing is. */
async function extend(state: State): Promise<boolean> {
  let hasAsked = false
  for (let step = state.step; step >= 1; step = Math.floor(step / 2)) {
    let answer = await extendBy(state, step)
    if (answer === 'funds' && !hasAsked) {
      hasAsked = true
      await state.ledger.spender.topUp(state.facts.accountId, billAt(state.request, state.room + step))
      answer = await extendBy(state, step)
    }
    if (answer === 'ok' || answer === 'refused') return answer === 'ok'
  }
  return false
}

/** Sets so many more output tokens aside, or changes nothing. */
async function extendBy(state: State, step: number): Promise<'ok' | 'funds' | 'limit' | 'refused'> {
  const { ledger, request, facts, room } = state
  // A vendor that goes beyond the bound is paid for as long as there is money.
  const target = room < request.mostOutputTokens ? Math.min(request.mostOutputTokens, room + step) : room + step
  const bill = billAt(request, target)
  const share = uncovered(bill, state.parts)
  if (share.unpaid === 0n) return 'refused'
  const needs = needsOfShare(needsFor(ledger, { request, bill }), share)
  const more = bill.money > state.estimate ? bill.money - state.estimate : 0n
  const { id } = request
  const answer = await ledger.platform.shared.run({
    type: 'extend',
    id,
    accountId: facts.accountId,
    needs,
    estimate: more,
  })
  if (answer.code === 'gone' || answer.code === 'fenced') state.isLost = true
  if (answer.code === 'funds' || answer.code === 'limit') return answer.code
  if (answer.code !== 'ok') return 'refused'
  state.parts = answer.parts
  state.estimate += more
  state.room = roomOf(request, answer.parts)
  state.step = nextStep(step)
  return 'ok'
}

function billAt(request: HoldRequest, outputTokens: number): Bill {
  return quoteBill({ ...request, outputTokens }, request.prices, request.tokenWeights)
}

/** The output tokens that some parts cover. */
function roomOf(request: HoldRequest, parts: readonly Part[]): number {
  if (parts.every(({ asset }) => asset === undefined)) return coveredOutput(sumMoney(parts), request, request.prices)
  return coveredBy(parts, request.mostOutputTokens, (outputTokens) => billAt(request, outputTokens))
}
