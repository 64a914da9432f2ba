import type { Part, UsageRecord } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import { tokensOf } from '../core/rate-limit.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import { type Bill, coveredBy, needsOf, needsOfShare, quoteBill, uncovered } from './bill.ts'
import type { Command, ExtendReply, OtherEpoch, ReplyTo } from './engine/commands.ts'
import type { HoldRecord, KeyBudgets, Metered } from './engine/records.ts'
import { sumMoney } from './engine/purses.ts'
import type { Admission, Admitted, Hold, HoldRequest, Ledger } from './hold.ts'
import type { Home } from './homes.ts'
import { coveredOutput, nextStep } from './size.ts'

/** A settled record is sent to Postgres again when it was not finalised within this time. */
const claimMs = 10_000
/** Within this share of its term since the last acknowledged checkpoint a hold may be spent (the self-fence). */
const fenceShare = 0.8
/** A hold that was not confirmed for this share of its term is brought to the second home. */
const moveShare = 0.3
/** Tokens by which the estimate of a very short answer may be too high. */
const estimateSlack = 64
/** A refused extension is not asked for again ahead of need for this long. */
const refusedPauseMs = 500
/** The first extension, in output tokens. */
const firstStep = 1_024

/** A home that a hold lives in, and the epoch in which it was last confirmed there; 0: it may not be there. */
interface Place {
  readonly home: Home
  epoch: number
}

/** Everything that an open hold remembers beside its records in the engine. */
interface State extends Admission {
  readonly ledger: Ledger
  readonly places: Place[]
  parts: readonly Part[]
  /** What budgets count, in money. */
  estimate: Nanos
  /** Output tokens that are paid for. */
  room: number
  /** Output tokens of the next extension. */
  step: number
  /** When the hold was last asked for of a home that then confirmed it: its answer may come much later. */
  ackedAtMs: number
  /** The engine has ended the hold: nothing more may be forwarded on it. */
  isLost: boolean
  growing: Promise<boolean> | undefined
  /** After a refusal the hold does not ask again ahead of need before this moment. */
  askAgainAtMs: number
}

/** The hold of a call that was let in. */
export function openHold(ledger: Ledger, admitted: Admission & Admitted): Hold {
  const { request, facts, metered, bill, reply, home, unsure, askedAtMs } = admitted
  const state: State = {
    request,
    facts,
    metered,
    bill,
    ledger,
    places: [
      { home, epoch: home.spender.epochOf(facts.accountId) },
      ...unsure.map((other) => ({ home: other, epoch: 0 })),
    ],
    parts: reply.parts,
    estimate: bill.money,
    room: facts.free ? Number.POSITIVE_INFINITY : roomOf(request, reply.parts),
    step: firstStep,
    ackedAtMs: askedAtMs,
    isLost: false,
    growing: undefined,
    askAgainAtMs: 0,
  }
  const { id } = request
  const { accountId } = facts
  const hold: Hold = {
    id,
    facts,
    prices: request.prices,
    left: { ...(reply.requests && { requests: reply.requests }), ...(reply.tokens && { tokens: reply.tokens }) },
    started: false,
    measure: () => Promise.resolve(metered),
    parts: () => state.parts,
    covers: (outputTokens) => covers(state, outputTokens),
    grow: (outputTokens) => growTo(state, hold, outputTokens),
    checkpoint: async () => checkpoint(state, await hold.measure()),
    async settle(record) {
      endedHere(state, hold, record)
      await everywhere(state, { type: 'settle', id, accountId, record, claimMs })
    },
    async void(record) {
      endedHere(state, hold, record)
      await everywhere(state, { type: 'void', id, accountId, claimMs, ...(record && { record }) })
      if (!record) await everywhere(state, { type: 'finalise', id, accountId, total: 0n })
    },
  }
  ledger.live.add(hold)
  return hold
}

function endedHere({ ledger, request }: State, hold: Hold, record: UsageRecord | undefined): void {
  ledger.live.delete(hold)
  request.ended?.(tokensOf(record?.usage.counts ?? {}))
  if (!record) return
  ledger.batcher.add(record)
  ledger.homes.of(record.accountId).spender.charged(record.accountId, record.charge)
}

/** Tells every home that a hold lives in. A home that does not answer hears of the end from its sweep. */
async function everywhere(state: State, command: Command): Promise<void> {
  const { accountId } = state.facts
  const reached = state.places.filter(({ home }) => home.shared.reaches(accountId))
  const [only] = reached
  if (only && reached.length === 1) return void (await only.home.shared.run(command))
  const told = await Promise.allSettled(reached.map(({ home }) => home.shared.run(command)))
  for (const each of told) if (each.status === 'rejected') throw each.reason
}

/** `away`: nothing was learnt. */
type Confirmed = 'ok' | 'lost' | 'away'

/** Stores what was metered in every home; one that confirms it is enough, one that has ended the hold ends it. */
async function checkpoint(state: State, metered: Metered): Promise<void> {
  const { clock, settings } = state.ledger.platform
  const askedAtMs = clock.elapsed()
  const confirmed = await Promise.all(state.places.map((place) => confirm(state, place, metered)))
  if (confirmed.includes('lost')) {
    state.isLost = true
    return
  }
  const isLate = clock.elapsed() - state.ackedAtMs > settings.termMs * moveShare
  const isKept = isConfirmed(state, confirmed) || (await moved(state, { metered, isLate }))
  if (!isKept) throw new SharedUnavailable(new Error(`hold ${state.request.id} was not confirmed`))
  state.ackedAtMs = askedAtMs
}

/** Past its fence a hold may have been ended in the shared store by another process: our own memory cannot tell. */
function isConfirmed(state: State, confirmed: readonly Confirmed[]): boolean {
  const { spare } = state.ledger.homes
  const isOwn = (at: number) => state.places[at]?.home === spare
  const counts = (at: number) => !isFenced(state) || !isOwn(at) || state.places.every(({ home }) => home === spare)
  return confirmed.some((each, at) => each === 'ok' && counts(at))
}

/** Brings a hold to the second home where the first does not answer. */
async function moved(state: State, { metered, isLate }: { metered: Metered; isLate: boolean }): Promise<boolean> {
  const { accountId } = state.facts
  const { spare } = state.ledger.homes
  if (isFenced(state)) return false
  if (!spare || state.places.some(({ home }) => home === spare)) return false
  if (!isLate && state.places.some(({ home }) => home.shared.reaches(accountId))) return false
  const place: Place = { home: spare, epoch: 0 }
  if ((await assertIn(state, place, metered)) !== 'ok') return false
  state.places.push(place)
  return true
}

/** Stores what was metered in one home; where another epoch stands by now, the hold is asserted in it. */
async function confirm(state: State, place: Place, metered: Metered): Promise<Confirmed> {
  const { accountId } = state.facts
  const { shared, spender } = place.home
  if (!shared.reaches(accountId)) return 'away'
  try {
    if (place.epoch > 0 && place.epoch === spender.epochOf(accountId)) {
      const { termMs } = state.ledger.platform.settings
      const answer = await shared.run({ type: 'checkpoint', id: state.request.id, accountId, metered, termMs })
      if (answer.code === 'ok') return 'ok'
      if (answer.code === 'fenced') return 'lost'
      // Another command may have heard of another epoch before: what stands now is asked.
      await spender.enter(accountId)
      // Dropped under the very epoch it was made in: it has ended, and its record is in the books.
      if (place.epoch === spender.epochOf(accountId)) return answer.code === 'gone' ? 'lost' : 'away'
    }
    return await assertIn(state, place, metered)
  } catch {
    return 'away'
  }
}

async function assertIn(state: State, place: Place, metered: Metered): Promise<Confirmed> {
  const { facts, request, ledger } = state
  const { accountId } = facts
  const { shared, spender } = place.home
  const epoch = spender.epochOf(accountId)
  const limited = request.caller.chain.filter((key) => key.budgets.length > 0)
  const budgets: readonly KeyBudgets[] = limited.map((key) => ({ keyId: key.id, budgets: key.budgets }))
  const hold: HoldRecord = {
    id: request.id,
    state: 'held',
    facts,
    parts: state.parts,
    estimate: state.estimate,
    ...(budgets.length > 0 && { budgets }),
    metered,
    dueMs: 0,
  }
  const { termMs } = ledger.platform.settings
  const answer = await shared.run({ type: 'assert', id: request.id, accountId, hold, termMs })
  if (answer.code === 'epoch') return 'away'
  if (answer.code !== 'ok') return 'lost'
  place.epoch = epoch
  return 'ok'
}

/** What each purse that may pay would have to give for a bill. */
export function needsFor({ spender }: Home, { request, bill }: Pick<Admission, 'request' | 'bill'>) {
  return needsOf(spender.purses(request.caller.accountId) ?? [], request.publicModel, bill)
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
  const { accountId } = state.facts
  const place = await placeToExtend(state)
  if (!place) return false
  const { spender } = place.home
  if (!spender.purses(accountId)) await spender.loadAccount(accountId)
  let isDry = false
  for (let step = state.step; step >= 1; step = Math.floor(step / 2)) {
    let answer = await extendBy(state, place, step)
    if (answer === 'funds' && !isDry) {
      isDry = !(await spender.topUp(accountId, billAt(state.request, state.room + step)))
      answer = await extendBy(state, place, step)
    }
    if (answer === 'ok' || answer === 'refused') return answer === 'ok'
  }
  return false
}

/** The first home that answers; the second one is made where none does. */
async function placeToExtend(state: State): Promise<Place | undefined> {
  const { accountId } = state.facts
  const answering = () => state.places.find(({ home, epoch }) => epoch > 0 && home.shared.reaches(accountId))
  const place = answering()
  if (place) return place
  await moved(state, { metered: state.metered, isLate: false })
  return answering() ?? state.places.find(({ home }) => home.shared.reaches(accountId))
}

/** Sets so many more output tokens aside, or changes nothing. */
async function extendBy(state: State, place: Place, step: number): Promise<'ok' | 'funds' | 'limit' | 'refused'> {
  const { request, room } = state
  // A vendor that goes beyond the bound is paid for as long as there is money.
  const target = room < request.mostOutputTokens ? Math.min(request.mostOutputTokens, room + step) : room + step
  const bill = billAt(request, target)
  const share = uncovered(bill, state.parts)
  if (share.unpaid === 0n) return 'refused'
  const needs = needsOfShare(needsFor(place.home, { request, bill }), share)
  const more = bill.money > state.estimate ? bill.money - state.estimate : 0n
  const command = { type: 'extend', id: request.id, accountId: state.facts.accountId, needs, estimate: more } as const
  let answer: ReplyTo<typeof command> | OtherEpoch = await place.home.shared.run(command)
  if (isElsewhere(answer)) {
    // Another epoch may stand by now; then the hold is there again, and what it asks for is new to it.
    const confirmed = await confirm(state, place, state.metered)
    if (confirmed === 'lost') state.isLost = true
    if (confirmed !== 'ok') return 'refused'
    answer = await place.home.shared.run(command)
  }
  if (answer.code === 'fenced') state.isLost = true
  if (answer.code === 'funds' || answer.code === 'limit') return answer.code
  if (answer.code !== 'ok') return 'refused'
  state.parts = furthest(state.parts, answer.parts)
  state.estimate += more
  state.room = roomOf(request, state.parts)
  state.step = nextStep(step)
  return 'ok'
}

function isElsewhere({ code }: ExtendReply | OtherEpoch): boolean {
  return code === 'gone' || code === 'epoch'
}

/** Each home knows the parts on its own loans best, and those only grow. */
function furthest(known: readonly Part[], told: readonly Part[]): readonly Part[] {
  const isSame = (a: Part, b: Part) => a.purse === b.purse && a.lease === b.lease && a.asset === b.asset
  const grown = known.map((part) => {
    const now = told.find((other) => isSame(part, other))
    return now && now.amount > part.amount ? now : part
  })
  return [...grown, ...told.filter((part) => !known.some((other) => isSame(part, other)))]
}

function billAt(request: HoldRequest, outputTokens: number): Bill {
  return quoteBill({ ...request, outputTokens }, request.prices, request.tokenWeights)
}

/** The output tokens that some parts cover. */
function roomOf(request: HoldRequest, parts: readonly Part[]): number {
  if (parts.every(({ asset }) => asset === undefined)) return coveredOutput(sumMoney(parts), request, request.prices)
  return coveredBy(parts, request.mostOutputTokens, (outputTokens) => billAt(request, outputTokens))
}
