import { GatewayError } from '../core/errors.ts'
import { capacityOf, limitWindows, mostLimit, type RateLimit } from '../core/rate-limit.ts'
import { openLender, type Share, type ShareAsk } from '../core/shared-limit.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import type { Clock, Log, Shared } from '../ports.ts'

/** This replica's shares of the limits over accounts: it borrows them ahead of need and decides by itself. */

/** A limit over accounts as it binds one call. */
export interface Bound {
  /** The same in every replica. */
  readonly id: string
  /** Whose limit it is, as the caller is told: `model "gpt-large"`. */
  readonly whose: string
  readonly limit: RateLimit
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
  stop(): void
}

export interface SharesOptions {
  readonly shared: Pick<Shared, 'shares'>
  readonly clock: Clock
  readonly log: Log
  readonly replica: string
}

/** Shares are renewed so often; of a limit that is used up within a second, more often. */
const renewMs = 1_000
const soonestMs = 50
/** What was asked for in less time says little about a second. */
const leastSampleMs = 100
/** A share that nobody used for so long is given back and forgotten. */
const idleMs = 10_000
/** Limits of which this replica has shares; those used longest ago go first, and what is left of them lapses. */
const maxShares = 20_000
/** Rounds of asking for one call: shares may go to others meanwhile. */
const takeRounds = 3

interface Entry {
  readonly bound: Bound
  /** Lent and not used; below zero after a call that had more tokens than it was thought to. */
  left: number
  /** What calls asked for since the last request, whether or not they were let in. */
  demand: number
  usedAtMs: number
  askedAtMs: number
  /** What the last answer said. */
  share: Share | undefined
  asking: Promise<void> | undefined
}

interface State {
  readonly options: SharesOptions
  readonly entries: Map<string, Entry>
  /** Where the store is away, each replica counts alone. */
  readonly alone: ReturnType<typeof openLender>
  isAlone: boolean
}

/** Opens the shares of this replica; nothing is borrowed yet. */
export function openShares(options: SharesOptions): Shares {
  const state: State = { options, entries: new Map(), alone: openLender(), isAlone: false }
  let stopTimer: (() => void) | undefined
  const tick = () => {
    stopTimer = options.clock.after(renewMs, tick)
    renew(state)
  }
  return {
    take(bounds, tokens) {
      if (bounds.length > 0) stopTimer ??= options.clock.after(renewMs, tick)
      return take(state, bounds, tokens)
    },
    stop: () => stopTimer?.(),
  }
}

async function take(state: State, bounds: readonly Bound[], tokens: number): Promise<Taken> {
  const nowMs = state.options.clock.elapsed()
  const entries = bounds.map((bound) => entryOf(state, bound, nowMs))
  for (const entry of entries) entry.demand = Math.min(mostLimit, entry.demand + amountOf(entry, tokens))
  for (let round = 0; ; round++) {
    const short = entries.find((entry) => entry.left < neededOf(entry, tokens))
    if (!short) break
    if (round === takeRounds || !mayAsk(state, short)) throw refused(state, short)
    await ask(state, short)
  }
  for (const entry of entries) entry.left -= amountOf(entry, tokens)
  return {
    settle(used) {
      for (const entry of entries) if (entry.bound.limit.of === 'tokens') entry.left += tokens - used
    },
    undo() {
      for (const entry of entries) entry.left += amountOf(entry, tokens)
    },
  }
}

function entryOf({ entries }: State, bound: Bound, nowMs: number): Entry {
  const { id } = bound
  const entry = entries.get(id) ?? {
    bound,
    left: 0,
    demand: 0,
    askedAtMs: 0,
    usedAtMs: 0,
    share: undefined,
    asking: undefined,
  }
  entry.usedAtMs = nowMs
  entries.delete(id)
  entries.set(id, entry)
  if (entries.size > maxShares) entries.delete(entries.keys().next().value ?? id)
  return entry
}

function amountOf({ bound }: Entry, tokens: number): number {
  return bound.limit.of === 'requests' ? 1 : tokens
}

/** A call that is larger than the whole limit is let in when all of it is there, and what is above it is owed. */
function neededOf(entry: Entry, tokens: number): number {
  return Math.min(amountOf(entry, tokens), capacityOf(entry.bound.limit))
}

/** Asks at once where nothing is known, or where there was more; else when the share comes due. */
function mayAsk({ options }: State, { share, asking, askedAtMs, bound }: Entry): boolean {
  if (asking || share === undefined || share.hasMore) return true
  return options.clock.elapsed() - askedAtMs >= Math.max(share.retryMs, everyMs(bound.limit))
}

/**
 * A tenth of the time in which a bucket refills what it lets in at once. What a window has not lent when it ends is lost,
 * so it is asked two hundred times.
 */
function everyMs(limit: RateLimit): number {
  const windowMs = limitWindows[limit.window]
  const fullMs = Math.floor((windowMs * capacityOf(limit)) / limit.limit)
  const wishedMs = limit.algorithm === 'sliding_window' ? windowMs / 200 : Math.floor(fullMs / 10)
  return Math.min(renewMs, Math.max(soonestMs, wishedMs))
}

function refused({ options }: State, { bound, share, askedAtMs }: Entry): GatewayError {
  const { of, window, limit } = bound.limit
  const sinceMs = options.clock.elapsed() - askedAtMs
  return new GatewayError(
    'rate_limit_exceeded',
    `The limit of ${limit} ${of} per ${window} of ${bound.whose} is reached.`,
    {
      retryAfterMs: Math.max(1, (share?.retryMs ?? renewMs) - sinceMs),
    },
  )
}

/** One request per limit at a time: those who come meanwhile share it. */
function ask(state: State, entry: Entry): Promise<void> {
  entry.asking ??= borrow(state, [entry]).finally(() => (entry.asking = undefined))
  return entry.asking
}

function renew(state: State): void {
  const nowMs = state.options.clock.elapsed()
  const due: Entry[] = []
  for (const [id, entry] of state.entries) {
    if (entry.asking) continue
    if (nowMs - entry.usedAtMs >= idleMs && entry.demand === 0) state.entries.delete(id)
    if (entry.demand > 0 || entry.left !== 0) due.push(entry)
  }
  if (due.length === 0) return
  const work = borrow(state, due).catch((error: unknown) =>
    state.options.log('limits_failed', { error: String(error) }),
  )
  for (const entry of due) entry.asking = work.finally(() => (entry.asking = undefined))
}

async function borrow(state: State, entries: readonly Entry[]): Promise<void> {
  const { options } = state
  const asks = entries.map((entry) => askOf(entry, options))
  const shares = await lent(state, asks)
  entries.forEach((entry, index) => {
    const share = shares[index]
    if (!share) return
    entry.left += share.granted
    entry.share = share
  })
}

/** A second's demand is kept ready; what is above that goes back. */
function askOf(entry: Entry, { clock, replica }: SharesOptions): ShareAsk {
  const nowMs = clock.elapsed()
  const sinceMs = nowMs - entry.askedAtMs
  const target =
    entry.askedAtMs === 0
      ? entry.demand
      : Math.ceil((entry.demand * renewMs) / Math.min(renewMs, Math.max(leastSampleMs, sinceMs)))
  const want = Math.min(mostLimit, Math.max(0, target - entry.left))
  const back = Math.max(0, entry.left - target)
  entry.demand = 0
  entry.askedAtMs = nowMs
  entry.left -= back
  return { id: entry.bound.id, limit: entry.bound.limit, replica, want, back }
}

async function lent(state: State, asks: readonly ShareAsk[]): Promise<readonly Share[]> {
  const { options, alone } = state
  try {
    const shares = await options.shared.shares(asks)
    if (state.isAlone) options.log('limits_shared')
    state.isAlone = false
    return shares
  } catch (error) {
    if (!(error instanceof SharedUnavailable)) throw error
    if (!state.isAlone) options.log('limits_alone', { error: String(error.cause ?? error) })
    state.isAlone = true
    const nowMs = options.clock.now()
    return asks.map((each) => alone.lend(each, nowMs))
  }
}
