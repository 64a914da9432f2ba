import type { Caller, Part, UsageRecord } from '../core/call.ts'
import { GatewayError, invalidKey } from '../core/errors.ts'
import { printMoney, type Nanos } from '../core/money.ts'
import type { PriceSet } from '../core/price.ts'
import type { Platform } from '../ports.ts'
import { type Batcher, billingUnavailable } from './batcher.ts'
import type { AdmitReply, RequestsLeft } from './engine/commands.ts'
import type { HoldFacts, Metered } from './engine/records.ts'
import { sumParts } from './purses.ts'
import { coveredOutput, nextStep, quote } from './size.ts'
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
}

export interface HoldRequest {
  readonly id: string
  readonly caller: Caller
  readonly model: string
  readonly prices: PriceSet
  readonly free: boolean
  readonly stream: boolean
  readonly startedAtMs: number
  readonly inputTokens: number
  readonly outputTokens: number
  /** The most output the call may ever give: the hold never grows beyond it. */
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
  readonly reserved: Nanos
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

/** Admits a call: every limit of its keys and its money, in one step. Throws GatewayError when it may not run. */
export async function admitHold(ledger: Ledger, request: HoldRequest): Promise<Hold> {
  if (!ledger.batcher.accepting) throw billingUnavailable()
  const { caller, prices, free } = request
  const estimate = free ? 0n : quote(request, prices)
  const facts: HoldFacts = {
    accountId: caller.accountId,
    keyIds: caller.chain.map((key) => key.id),
    model: request.model,
    prices,
    free,
    stream: request.stream,
    startedAtMs: request.startedAtMs,
    replica: ledger.platform.settings.replica,
  }
  const metered: Metered = {
    started: false,
    inputTokens: request.inputTokens,
    outputTokens: 0,
    vendor: '',
    vendorModel: '',
  }
  const reply = await runAdmit(ledger, { request, facts, metered, estimate })
  return openHold(ledger, { request, facts, metered, reply })
}

interface Admission {
  readonly request: HoldRequest
  readonly facts: HoldFacts
  readonly metered: Metered
  readonly estimate: Nanos
}

async function runAdmit(ledger: Ledger, admission: Admission): Promise<Extract<AdmitReply, { code: 'ok' }>> {
  const { caller, id } = admission.request
  let toppedUp = false
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
      await borrowing(ledger.spender.topUp(caller.accountId, admission.estimate))
    } else {
      throw refusal(reply, caller, admission.estimate)
    }
  }
  throw billingUnavailable(new Error(`hold ${id} found no footing`))
}

async function tryAdmit(
  { platform, spender }: Ledger,
  { request, facts, metered, estimate }: Admission,
): Promise<AdmitReply> {
  const purses = spender.purses(request.caller.accountId)
  // Without its purses a call would look free.
  if (!purses) return { code: 'load', account: true, keys: [] }
  return platform.shared.run({
    type: 'admit',
    id: request.id,
    accountId: request.caller.accountId,
    epoch: spender.epoch,
    facts,
    keys: request.caller.chain,
    needs: estimate === 0n ? [] : purses.map((purse) => ({ purse: purse.id, amount: estimate })),
    estimate,
    metered,
    termMs: platform.settings.termMs,
  })
}

/** The books answer or the call cannot be billed: there is no third way. */
async function borrowing(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    throw billingUnavailable(error)
  }
}

function refusal(
  reply: Exclude<AdmitReply, { code: 'ok' | 'load' | 'epoch' }>,
  caller: Caller,
  estimate: Nanos,
): GatewayError {
  const { currency } = caller
  switch (reply.code) {
    case 'funds':
      return fundsRefusal(reply, currency, estimate)
    case 'limit':
      return limitRefusal(reply, currency)
    case 'denied':
      if (reply.what === 'account')
        return new GatewayError('billing_unavailable', 'This account is stopped. Ask its operator.', {
          retryAfterMs: 60_000,
        })
      return invalidKey()
    case 'key_changed':
      return new StaleKey()
    case 'duplicate':
      return new GatewayError('conflict', 'A call with this id exists already.')
  }
}

/** The cached key is older than the engine's record: the caller must be authenticated anew, then admitted again. */
export class StaleKey extends GatewayError {
  constructor() {
    super('invalid_api_key', invalidKey().message)
  }
}

/** Money or a budget is short: a smaller hold might still be let in. */
export class NotFunded extends GatewayError {}

function fundsRefusal(reply: { available: Nanos; held: Nanos }, currency: string, estimate: Nanos): GatewayError {
  const sums = `It needs ${printMoney(estimate)} ${currency}; ${printMoney(reply.available)} is available and ${printMoney(reply.held)} is held by calls in flight.`
  if (reply.held > 0n && reply.available + reply.held >= estimate) {
    return new NotFunded('credit_held', `The credit for this call is held by calls in flight. ${sums}`, {
      retryAfterMs: 1_000,
    })
  }
  return new NotFunded(
    'insufficient_quota',
    `The account has not enough credit for this call. ${sums} Top up, or lower max_tokens.`,
  )
}

const limitNames = { requests: 'requests per minute', concurrency: 'calls at the same time', budget: 'budget' } as const

function limitRefusal(reply: Extract<AdmitReply, { code: 'limit' }>, currency: string): GatewayError {
  const limit = typeof reply.limit === 'bigint' ? `${printMoney(reply.limit)} ${currency}` : String(reply.limit)
  const text = `The key's limit of ${limit} ${limitNames[reply.what]} is reached.`
  // A budget that never starts anew is not a matter of waiting: SDKs would retry a 429 for nothing.
  if (reply.what === 'budget' && reply.retryMs === 0)
    return new NotFunded('insufficient_quota', `${text} Ask for a larger budget.`)
  const Refusal = reply.what === 'budget' ? NotFunded : GatewayError
  return new Refusal('rate_limit_exceeded', text, { retryAfterMs: reply.retryMs })
}

interface Opening {
  readonly request: HoldRequest
  readonly facts: HoldFacts
  readonly metered: Metered
  readonly reply: Extract<AdmitReply, { code: 'ok' }>
}

/** Everything that an open hold remembers beside its records in the engine. */
interface State extends Opening {
  readonly ledger: Ledger
  parts: readonly Part[]
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
  const room = facts.free ? Number.POSITIVE_INFINITY : coveredOutput(sumParts(reply.parts), request.inputTokens, prices)
  const state: State = {
    ...opening,
    ledger,
    parts: reply.parts,
    room,
    step: firstStep,
    ackedAtMs: clock.now(),
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
    get reserved() {
      return sumParts(state.parts)
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
      if (answer.code === 'ok') state.ackedAtMs = clock.now()
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
  return isLost || ledger.platform.clock.now() - ackedAtMs > ledger.platform.settings.termMs * fenceShare
}

function covers(state: State, outputTokens: number): boolean {
  if (isFenced(state)) return false
  const { mostOutputTokens } = state.request
  // Once the whole bound is paid for, the vendor keeps to it: sizes here are estimates and run up to twice too high.
  if (state.room >= mostOutputTokens) return outputTokens <= 2 * mostOutputTokens + estimateSlack
  // Ahead of need, so that a stream seldom waits: when less than a quarter of the next step is left.
  const isNear = outputTokens + state.step / 4 > state.room
  if (isNear && state.ledger.platform.clock.now() >= state.askAgainAtMs) void extendOnce(state)
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
      if (!isMore) state.askAgainAtMs = state.ledger.platform.clock.now() + refusedPauseMs
      return isMore
    })
  return state.growing
}

/** Sets the next step aside; false when it is refused. */
async function extend(state: State): Promise<boolean> {
  const { ledger, request, facts } = state
  const { shared } = ledger.platform
  const { accountId } = facts
  const target = Math.min(request.mostOutputTokens, state.room + state.step)
  const more = quote({ inputTokens: request.inputTokens, outputTokens: target }, request.prices) - sumParts(state.parts)
  if (more <= 0n) return false
  const needs = (ledger.spender.purses(accountId) ?? []).map((purse) => ({ purse: purse.id, amount: more }))
  const command = { type: 'extend', id: request.id, accountId, needs, estimate: more } as const
  let answer = await shared.run(command)
  if (answer.code === 'funds') {
    await ledger.spender.topUp(accountId, more)
    answer = await shared.run(command)
  }
  if (answer.code === 'gone' || answer.code === 'fenced') state.isLost = true
  if (answer.code !== 'ok') return false
  state.parts = answer.parts
  state.room = coveredOutput(sumParts(answer.parts), request.inputTokens, request.prices)
  state.step = nextStep(state.step)
  return true
}
