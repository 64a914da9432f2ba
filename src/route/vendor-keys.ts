import { fitsAny } from '../core/glob.ts'
import type { Target } from '../core/call.ts'
import type { VendorEntry } from '../core/catalog.ts'
import { onceForLasting } from '../core/once-for.ts'
import { type KeyClass, type KeyPriority, keysOf, type TryFailure, type VendorKey } from '../core/routing.ts'
import {
  type HeldKey,
  type KeySighting,
  type KeyState,
  type KeyTools,
  newKeyState,
  noteFailure,
  noteHeard,
  noteRemaining,
  noteWorked,
  quotaOf,
  sightingsOf,
  used,
  usesOf,
  waitOf,
} from './key-state.ts'
import { remainingIn } from './rate-headers.ts'
import type { ParkReason, Sighting } from './sightings.ts'

/** Keys and models whose state is kept; the oldest are forgotten first. */
const stateLimit = 50_000

/** With its secret: a key that was replaced under its name starts anew. Made once, since each call asks for it twice. */
function nameOf(vendor: string, key: VendorKey): string {
  const names = namesOf(key)
  const name = names.get(vendor) ?? `${vendor}\n${key.id}\n${key.secret}`
  names.set(vendor, name)
  return name
}

const namesOf = onceForLasting((_: VendorKey) => new Map<string, string>())

/** Which keys a class of calls may use, best first. Those of `vip` are kept for them. */
const allowed: Readonly<Record<KeyPriority, readonly KeyPriority[]>> = {
  vip: ['vip', 'normal'],
  normal: ['normal'],
  test: ['test', 'normal'],
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
  /** By model: the share that is left of the vendor's limits, from 0 to 1, where the vendor has said it of late. */
  readonly quota: Readonly<Record<string, number>>
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
    /** Of the vendor's limits, the share that is left to the key that has most of it, from 0 to 1. */
    readonly quota: number
  }
  /** The key that is least used; where none is free and `isLastResort`, the one that is free soonest. */
  take(
    wanted: KeyWanted,
    how: { readonly without: ReadonlySet<string>; readonly isLastResort: boolean },
  ): KeyUse | undefined
  shown(entry: VendorEntry): readonly KeyHealth[]
  /** Takes what another replica has seen of a key of this vendor for our own. */
  heard(entry: VendorEntry, seen: KeySighting): void
  /** What another replica should know of the keys of this vendor. */
  sightings(entry: VendorEntry): readonly Sighting[]
}

/** What this process has seen of the vendors' keys. */
export function openVendorKeys(tools: KeyTools): VendorKeys {
  const states = new Map<string, KeyState>()
  const { clock } = tools
  const stateOf = ({ id: vendor }: VendorEntry, key: VendorKey): KeyState => {
    const name = nameOf(vendor, key)
    const known = states.get(name)
    if (known) return known
    const state = newKeyState()
    states.set(name, state)
    const [oldest = name] = states.keys()
    if (states.size > stateLimit) states.delete(oldest)
    return state
  }
  const heldOf = (entry: VendorEntry) =>
    keysOf(entry).map((key): HeldKey => ({ entry, key, state: stateOf(entry, key) }))
  const fitting = ({ entry, target, keyClass }: KeyWanted) =>
    keysOf(entry)
      .filter((key) => serves(key, target, keyClass))
      .map((key): HeldKey => ({ entry, key, state: stateOf(entry, key) }))

  return {
    look(wanted) {
      const nowMs = clock.elapsed()
      const { model } = wanted.target
      const held = fitting(wanted)
      const waits = held.map(({ state }) => waitOf(state, model, nowMs))
      const retryInMs = Math.min(...waits)
      if (waits.length === 0) return { isReady: false, why: 'no_key', retryInMs: 0, quota: 1 }
      const free = held.filter((_, at) => (waits[at] ?? 0) <= 0)
      const quota = Math.max(0, ...free.map(({ state }) => quotaOf(state, model, nowMs)))
      if (free.length > 0) return { isReady: true, retryInMs: 0, quota }
      const isParked = held.every(({ state }) => (state.parked?.untilMs ?? 0) > nowMs)
      return { isReady: false, why: isParked ? 'keys_parked' : 'keys_busy', retryInMs, quota }
    },
    take(wanted, { without, isLastResort }) {
      const nowMs = clock.elapsed()
      const { target, keyClass } = wanted
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
      return chosen && useOf(tools, chosen, target.model)
    },
    shown: (entry) => heldOf(entry).map((held) => shown(held, clock.elapsed())),
    heard(entry, seen) {
      for (const held of heldOf(entry)) if (held.key.id === seen.key) noteHeard(tools, held, seen)
    },
    sightings: (entry) => heldOf(entry).flatMap((held) => sightingsOf(tools, held)),
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

function lessUsed(a: HeldKey, b: HeldKey, nowMs: number): number {
  const uses = usesOf(a.state, nowMs) - usesOf(b.state, nowMs)
  return a.state.inFlight - b.state.inFlight || uses || (a.key.id < b.key.id ? -1 : 1)
}

/** `model` is the vendor's. */
function useOf(tools: KeyTools, held: HeldKey, model: string): KeyUse {
  const { clock } = tools
  const startedMs = clock.elapsed()
  used(held.state, startedMs)
  return {
    key: held.key,
    heard: (headers) => noteRemaining(tools, held, { model, left: remainingIn(headers, clock.now()) }),
    failed: (failure) => noteFailure(tools, held, { model, failure }),
    worked: () => noteWorked(tools, held, startedMs),
    over() {
      held.state.inFlight--
    },
  }
}

function shown({ key, state }: HeldKey, nowMs: number): KeyHealth {
  const { inFlight, parked, busy, quota } = state
  const isParked = parked !== undefined && parked.untilMs > nowMs
  return {
    id: key.id,
    priority: key.priority,
    inFlight,
    parked: isParked ? parked.reason : undefined,
    retryInMs: isParked ? Math.ceil(parked.untilMs - nowMs) : 0,
    busy: [...busy].flatMap(([model, untilMs]) => (untilMs > nowMs ? [model] : [])),
    quota: Object.fromEntries(
      [...quota].flatMap(([model, { share, untilMs }]) => (untilMs > nowMs ? [[model, share]] : [])),
    ),
  }
}
