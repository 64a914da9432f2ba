import { added, type Decayed, decayed, nothingYet } from '../core/decayed.ts'
import { fitsAny } from '../core/glob.ts'
import type { Target } from '../core/call.ts'
import type { VendorEntry } from '../core/catalog.ts'
import { type KeyClass, type KeyPriority, keysOf, type TryFailure, type VendorKey } from '../core/routing.ts'
import type { Clock, Log } from '../ports.ts'
import { remainingIn } from './rate-headers.ts'

/** Keys and models whose state is kept; the oldest are forgotten first. */
const stateLimit = 50_000
const useHalfLifeMs = 60_000
/** A key that was refused may have been renewed at the vendor: it is tried again, ever more seldom. */
const firstParkMs = 30_000
const longestParkMs = 1_800_000
/** For a vendor that says that it is busy, but not for how long. */
const defaultBusyMs = 1_000
const longestBusyMs = 600_000

/** Which keys a class of calls may use, best first. Those of `vip` are kept for them. */
const allowed: Readonly<Record<KeyPriority, readonly KeyPriority[]>> = {
  vip: ['vip', 'normal'],
  normal: ['normal'],
  test: ['test', 'normal'],
}

export type ParkReason = 'out_of_credit' | 'refused'

interface KeyState {
  inFlight: number
  uses: Decayed
  parked:
    | { readonly reason: ParkReason; readonly status: number; readonly untilMs: number; readonly times: number }
    | undefined
  /** By the vendor's model: until when it takes nothing with this key. */
  readonly busy: Map<string, number>
}

/** A key as the page of health shows it: never its secret. */
export interface KeyHealth {
  readonly id: string
  readonly priority: KeyPriority
  readonly inFlight: number
  readonly parked: ParkReason | undefined
  readonly retryInMs: number
  /** Models for which it has reached the vendor's limit. */
  readonly busy: readonly string[]
}

/** The use of a key by one try. */
export interface KeyUse {
  readonly key: VendorKey
  heard(headers: Readonly<Record<string, string>>): void
  failed(failure: TryFailure): void
  /** The vendor has taken the key. */
  worked(): void
  /** Call it once. */
  over(): void
}

export interface KeyWanted {
  readonly entry: VendorEntry
  readonly target: Target
  readonly keyClass: KeyClass
}

export interface VendorKeys {
  /** Whether a key of the class would take a call now; with none, what stands in the way and for how long. */
  look(wanted: KeyWanted): {
    readonly isReady: boolean
    readonly why?: 'no_key' | 'keys_parked' | 'keys_busy'
    readonly retryInMs: number
  }
  /** The key that is least used; where none is free and `isLastResort`, the one that is free soonest. */
  take(
    wanted: KeyWanted,
    how: { readonly without: ReadonlySet<string>; readonly isLastResort: boolean },
  ): KeyUse | undefined
  shown(entry: VendorEntry): readonly KeyHealth[]
}

interface Tools {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly log: Log
}

/** What this process has seen of the vendors' keys. */
export function openVendorKeys(tools: Tools): VendorKeys {
  const states = new Map<string, KeyState>()
  const { clock } = tools
  const stateOf = ({ id: vendor }: VendorEntry, { id, secret }: VendorKey): KeyState => {
    // With its secret: a key that was replaced under its name starts anew.
    const name = `${vendor}\n${id}\n${secret}`
    const known = states.get(name)
    if (known) return known
    const state: KeyState = { inFlight: 0, uses: nothingYet, parked: undefined, busy: new Map() }
    states.set(name, state)
    const [oldest = name] = states.keys()
    if (states.size > stateLimit) states.delete(oldest)
    return state
  }
  const fitting = ({ entry, target, keyClass }: KeyWanted) =>
    keysOf(entry)
      .filter((key) => serves(key, target, keyClass))
      .map((key) => ({ key, state: stateOf(entry, key) }))

  return {
    look(wanted) {
      const nowMs = clock.elapsed()
      const waits = fitting(wanted).map(({ state }) => waitOf(state, wanted.target.model, nowMs))
      const retryInMs = Math.min(...waits)
      if (waits.length === 0) return { isReady: false, why: 'no_key', retryInMs: 0 }
      if (retryInMs <= 0) return { isReady: true, retryInMs: 0 }
      const isParked = fitting(wanted).every(({ state }) => (state.parked?.untilMs ?? 0) > nowMs)
      return { isReady: false, why: isParked ? 'keys_parked' : 'keys_busy', retryInMs }
    },
    take(wanted, { without, isLastResort }) {
      const nowMs = clock.elapsed()
      const { target, keyClass, entry } = wanted
      const left = fitting(wanted).filter(({ key }) => !without.has(key.id))
      const free = left.filter(({ state }) => waitOf(state, target.model, nowMs) <= 0)
      const order = allowed[keyClass.priority]
      const [chosen] =
        free.length > 0
          ? free.toSorted(
              (a, b) => order.indexOf(a.key.priority) - order.indexOf(b.key.priority) || lessUsed(a, b, nowMs),
            )
          : isLastResort
            ? left.toSorted((a, b) => waitOf(a.state, target.model, nowMs) - waitOf(b.state, target.model, nowMs))
            : []
      return chosen && useOf(tools, { ...chosen, entry, model: target.model })
    },
    shown: (entry) => keysOf(entry).map((key) => shown(key, stateOf(entry, key), clock.elapsed())),
  }
}

function serves(key: VendorKey, target: Target, { priority, scenario }: KeyClass): boolean {
  return (
    allowed[priority].includes(key.priority) &&
    fitsAny(key.models, target.model) &&
    (key.scenarios.length === 0 || (scenario !== undefined && key.scenarios.includes(scenario))) &&
    (key.region === undefined || target.region === undefined || key.region === target.region)
  )
}

function waitOf({ parked, busy }: KeyState, model: string, nowMs: number): number {
  return Math.max(parked?.untilMs ?? 0, busy.get(model) ?? 0) - nowMs
}

interface Held {
  readonly key: VendorKey
  readonly state: KeyState
}

function lessUsed(a: Held, b: Held, nowMs: number): number {
  const uses = ({ state }: Held): number => decayed(state.uses, nowMs, useHalfLifeMs).sum
  return a.state.inFlight - b.state.inFlight || uses(a) - uses(b) || (a.key.id < b.key.id ? -1 : 1)
}

interface Using extends Held {
  readonly entry: VendorEntry
  /** The vendor's. */
  readonly model: string
}

function useOf(tools: Tools, { key, state, entry, model }: Using): KeyUse {
  const { clock } = tools
  const startedMs = clock.elapsed()
  state.inFlight++
  state.uses = added(state.uses, { value: 1, nowMs: startedMs, halfLifeMs: useHalfLifeMs })
  const busyFor = (ms: number): void => void state.busy.set(model, clock.elapsed() + Math.min(ms, longestBusyMs))
  return {
    key,
    heard(headers) {
      const used = remainingIn(headers, clock.now()).filter(({ left }) => left === 0)
      const waits = used.flatMap(({ resetMs }) => (resetMs === undefined ? [] : [resetMs]))
      if (waits.length > 0) busyFor(Math.max(...waits))
    },
    failed(failure) {
      if (failure.fault === 'busy') busyFor(failure.retryAfterMs ?? defaultBusyMs)
      if (failure.fault !== 'account') return
      if (isOfKey(failure)) park(tools, { key, state, entry, model }, failure)
      else busyFor(firstParkMs)
    },
    worked() {
      if (!state.parked) return
      state.parked = undefined
      tools.log('vendor_key_works', { vendor: entry.id, key: key.id })
    },
    over() {
      state.inFlight--
    },
  }
}

/** Whether the key is at fault, or what it asked for: a model that is not there, or not there for us. */
function isOfKey({ about, status }: TryFailure): boolean {
  return about !== 'model' && status !== 403 && status !== 404
}

/** Told once for each time, so that an operator hears of it and the log is not filled. */
function park({ clock, log }: Tools, { key, state, entry }: Using, { status }: TryFailure): void {
  const nowMs = clock.elapsed()
  if (state.parked && state.parked.untilMs > nowMs) return
  // A 429 that is about the account says that its quota is used up, not that it is asked too often.
  const reason: ParkReason = status === 402 || status === 429 ? 'out_of_credit' : 'refused'
  const times = (state.parked?.times ?? 0) + 1
  const parkMs = Math.min(longestParkMs, firstParkMs * 2 ** Math.min(times - 1, 10))
  state.parked = { reason, status, untilMs: nowMs + parkMs, times }
  log('vendor_key_parked', { vendor: entry.id, key: key.id, reason, status, forMs: parkMs })
}

function shown({ id, priority }: VendorKey, { inFlight, parked, busy }: KeyState, nowMs: number): KeyHealth {
  const isParked = parked !== undefined && parked.untilMs > nowMs
  return {
    id,
    priority,
    inFlight,
    parked: isParked ? parked.reason : undefined,
    retryInMs: isParked ? Math.ceil(parked.untilMs - nowMs) : 0,
    busy: [...busy].flatMap(([model, untilMs]) => (untilMs > nowMs ? [model] : [])),
  }
}
