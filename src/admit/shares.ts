import { GatewayError } from '../core/errors.ts'
import type { RateLimit } from '../core/rate-limit.ts'
import { openLender, type SlotLimit } from '../core/shared-limit.ts'
import { openSlotLender } from '../core/shared-slots.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import type { Clock, Log, Shared } from '../ports.ts'
import {
  amountOf,
  askRate,
  demandRate,
  fitsRate,
  mayAskRate,
  openRateShare,
  type RateShare,
  rateRetryMs,
  renewMs,
} from './rate-share.ts'
import {
  askSlot,
  demandSlot,
  fitsSlot,
  leaveSlot,
  mayAskSlot,
  openSlotShare,
  slotRetryMs,
  type SlotShare,
  takeSlot,
} from './slot-share.ts'

/** This replica's shares of the limits over accounts: it borrows them ahead of need and decides by itself. */

/** A limit over accounts as it binds one call. */
export interface Bound {
  /** The same in every replica. */
  readonly id: string
  /** Whose limit it is, as the caller is told: `model "gpt-large"`. */
  readonly whose: string
  readonly limit: RateLimit | SlotLimit
}

/** A call that was let in. Exactly one of the two is called, once. */
export interface Taken {
  /** The call has ended with so many tokens. */
  settle(tokens: number): void
  /** Another limit refused it. */
  undo(): void
}

export interface Shares {
  /** Counts a call against all of the limits, or throws `rate_limit_exceeded` and counts it against none. */
  take(bounds: readonly Bound[], tokens: number): Promise<Taken>
  /** The same at once, by what is here already; the error is returned. */
  tryTake(bounds: readonly Bound[], tokens: number): Taken | GatewayError
  /** Borrows for a call that may come, where too little is here and more may be had. It never rejects. */
  prepare(bounds: readonly Bound[], tokens: number): Promise<void>
  /** The first of the limits that has no room for a call, as its caller would be told; nothing is counted. */
  refusal(bounds: readonly Bound[], tokens: number): GatewayError | undefined
  stop(): void
}

export interface SharesOptions {
  readonly shared: Pick<Shared, 'shares' | 'slots'>
  readonly clock: Clock
  readonly log: Log
  readonly replica: string
}

/** A share that nobody used for so long is given back and forgotten. */
const idleMs = 10_000
/** Limits of which this replica has shares; those used longest ago go first, and what is left of them lapses. */
const maxShares = 20_000
/** Rounds of asking for one call: shares may go to others meanwhile. */
const takeRounds = 3

type Entry = RateShare | SlotShare

interface State {
  readonly options: SharesOptions
  readonly entries: Map<string, Entry>
  /** Where the store is away, each replica counts alone. */
  readonly alone: { readonly rates: ReturnType<typeof openLender>; readonly slots: ReturnType<typeof openSlotLender> }
  isAlone: boolean
  stopTimer: (() => void) | undefined
}

/** Opens the shares of this replica; nothing is borrowed yet. */
export function openShares(options: SharesOptions): Shares {
  const alone = { rates: openLender(), slots: openSlotLender() }
  const state: State = { options, entries: new Map(), alone, isAlone: false, stopTimer: undefined }
  return {
    take: (bounds, tokens) => take(state, bounds, tokens),
    tryTake(bounds, tokens) {
      const entries = entriesOf(state, bounds)
      demand(entries, tokens)
      const short = entries.find((entry) => !fits(entry, tokens))
      return short ? refused(state, short) : taken(state, entries, tokens)
    },
    async prepare(bounds, tokens) {
      const nowMs = options.clock.elapsed()
      const short = entriesOf(state, bounds).filter((entry) => !fits(entry, tokens) && mayAsk(entry, nowMs))
      demand(short, tokens)
      await Promise.all(short.map((entry) => ask(state, entry))).catch((error: unknown) => failed(state, error))
    },
    refusal(bounds, tokens) {
      const short = entriesOf(state, bounds).find((entry) => !fits(entry, tokens))
      return short && refused(state, short)
    },
    stop: () => state.stopTimer?.(),
  }
}

async function take(state: State, bounds: readonly Bound[], tokens: number): Promise<Taken> {
  const entries = entriesOf(state, bounds)
  demand(entries, tokens)
  for (let round = 0; ; round++) {
    const short = entries.find((entry) => !fits(entry, tokens))
    if (!short) return taken(state, entries, tokens)
    if (round === takeRounds || !mayAsk(short, state.options.clock.elapsed())) throw refused(state, short)
    await ask(state, short)
  }
}

function taken(state: State, entries: readonly Entry[], tokens: number): Taken {
  for (const entry of entries) {
    if (entry.kind === 'rate') entry.left -= amountOf(entry, tokens)
    else takeSlot(entry)
  }
  return {
    settle(used) {
      for (const entry of entries) {
        if (entry.kind === 'slots') leave(state, entry)
        else if (entry.limit.of === 'tokens') entry.left += tokens - used
      }
    },
    undo() {
      for (const entry of entries) {
        if (entry.kind === 'slots') leave(state, entry)
        else entry.left += amountOf(entry, tokens)
      }
    },
  }
}

/** A slot that others wait for goes back at once, but not while an earlier answer is awaited: the next request tells. */
function leave(state: State, entry: SlotShare): void {
  if (!leaveSlot(entry) || entry.asking) return
  void ask(state, entry).catch((error: unknown) => failed(state, error))
}

function entriesOf(state: State, bounds: readonly Bound[]): readonly Entry[] {
  if (bounds.length > 0) state.stopTimer ??= state.options.clock.after(renewMs, () => tick(state))
  const nowMs = state.options.clock.elapsed()
  return bounds.map((bound) => entryOf(state, bound, nowMs))
}

function entryOf({ entries }: State, bound: Bound, nowMs: number): Entry {
  const { id, limit } = bound
  const known = entries.get(id)
  const entry = known ?? (limit.of === 'concurrency' ? openSlotShare(bound, limit) : openRateShare(bound, limit))
  entry.usedAtMs = nowMs
  entries.delete(id)
  entries.set(id, entry)
  if (entries.size > maxShares) forgetOne(entries)
  return entry
}

/** A limit with calls under way is as good as just used: their number must not be forgotten. */
function forgetOne(entries: Map<string, Entry>): void {
  for (const [id, entry] of entries) {
    entries.delete(id)
    if (entry.kind === 'rate' || entry.used === 0) return
    entries.set(id, entry)
  }
}

function demand(entries: readonly Entry[], tokens: number): void {
  for (const entry of entries) {
    if (entry.kind === 'rate') demandRate(entry, tokens)
    else demandSlot(entry)
  }
}

function fits(entry: Entry, tokens: number): boolean {
  return entry.kind === 'rate' ? fitsRate(entry, tokens) : fitsSlot(entry)
}

function mayAsk(entry: Entry, nowMs: number): boolean {
  return entry.kind === 'rate' ? mayAskRate(entry, nowMs) : mayAskSlot(entry, nowMs)
}

function refused({ options }: State, entry: Entry): GatewayError {
  const retryAfterMs = entry.kind === 'rate' ? rateRetryMs(entry, options.clock.elapsed()) : slotRetryMs
  const { limit, bound } = entry
  const what = limit.of === 'concurrency' ? 'calls at the same time' : `${limit.of} per ${limit.window}`
  const message = `The limit of ${limit.limit} ${what} of ${bound.whose} is reached.`
  return new GatewayError('rate_limit_exceeded', message, { retryAfterMs })
}

/** One request per limit at a time: those who come meanwhile share it. */
function ask(state: State, entry: Entry): Promise<void> {
  entry.asking ??= borrow(state, [entry]).finally(() => (entry.asking = undefined))
  return entry.asking
}

function tick(state: State): void {
  const { options, entries } = state
  state.stopTimer = options.clock.after(renewMs, () => tick(state))
  const nowMs = options.clock.elapsed()
  const due: Entry[] = []
  for (const [id, entry] of entries) {
    if (entry.asking) continue
    const isIdle = nowMs - entry.usedAtMs >= idleMs
    const isInUse = entry.kind === 'rate' ? entry.demand > 0 : entry.used > 0
    if (isIdle && !isInUse) entries.delete(id)
    if (isInUse || hasSomething(entry)) due.push(entry)
  }
  if (due.length === 0) return
  const work = borrow(state, due).catch((error: unknown) => failed(state, error))
  for (const entry of due) entry.asking = work.finally(() => (entry.asking = undefined))
}

function hasSomething(entry: Entry): boolean {
  return entry.kind === 'rate' ? entry.left !== 0 : entry.granted > 0 || entry.short > 0
}

function failed({ options }: State, error: unknown): void {
  options.log('limits_failed', { error: String(error) })
}

async function borrow(state: State, entries: readonly Entry[]): Promise<void> {
  const { replica, clock } = state.options
  const nowMs = clock.elapsed()
  const rates = entries.filter((entry) => entry.kind === 'rate')
  const slots = entries.filter((entry) => entry.kind === 'slots')
  await Promise.all([
    rates.length > 0 && borrowRates(state, { rates, asks: rates.map((each) => askRate(each, replica, nowMs)) }),
    slots.length > 0 && borrowSlots(state, { slots, asks: slots.map((each) => askSlot(each, replica, nowMs)) }),
  ])
}

interface RatesAsked {
  readonly rates: readonly RateShare[]
  readonly asks: Parameters<Shared['shares']>[0]
}

async function borrowRates(state: State, { rates, asks }: RatesAsked): Promise<void> {
  const { shared, clock } = state.options
  const lent = await orAlone(state, {
    ask: () => shared.shares(asks),
    alone: () => asks.map((each) => state.alone.rates.lend(each, clock.now())),
  })
  rates.forEach((entry, at) => {
    const share = lent[at]
    if (!share) return
    entry.left += share.granted
    entry.share = share
  })
}

interface SlotsAsked {
  readonly slots: readonly SlotShare[]
  readonly asks: Parameters<Shared['slots']>[0]
}

async function borrowSlots(state: State, { slots, asks }: SlotsAsked): Promise<void> {
  const { shared, clock } = state.options
  const lent = await orAlone(state, {
    ask: () => shared.slots(asks),
    alone: () => asks.map((each) => state.alone.slots.lend(each, clock.now())),
  })
  slots.forEach((entry, at) => {
    const share = lent[at]
    if (!share) return
    entry.granted = share.granted
    entry.share = share
  })
}

interface Asking<Answer> {
  ask(): Promise<Answer>
  alone(): Answer
}

async function orAlone<Answer>(state: State, { ask: askStore, alone }: Asking<Answer>): Promise<Answer> {
  const { log } = state.options
  try {
    const answer = await askStore()
    if (state.isAlone) log('limits_shared')
    state.isAlone = false
    return answer
  } catch (error) {
    if (!(error instanceof SharedUnavailable)) throw error
    if (!state.isAlone) log('limits_alone', { error: String(error.cause ?? error) })
    state.isAlone = true
    return alone()
  }
}
