import { added, type Decayed, decayed, nothingYet } from '../core/decayed.ts'
import type { VendorEntry } from '../core/catalog.ts'
import type { TryFailure, VendorKey } from '../core/routing.ts'
import type { Clock, Log } from '../ports.ts'
import type { Remaining } from './rate-headers.ts'
import type { ParkReason, Sighting } from './sightings.ts'

/** What is remembered of one key: how much it is used, whether it is parked, and how it stands at the vendor's limits. */

const useHalfLifeMs = 60_000
/** A key that was refused may have been renewed at the vendor: it is tried again, ever more seldom. */
const firstParkMs = 30_000
const longestParkMs = 1_800_000
/** For a vendor that says that it is busy, but not for how long. */
const defaultBusyMs = 1_000
const longestBusyMs = 600_000
/** Shorter waits, and changes of them, are not worth telling others. */
const leastToldMs = 1_000
/** A quota of which nobody has said when it is whole again is taken for whole after this. */
const quotaMs = 60_000
/** Models of one key whose state is kept; the oldest are forgotten first. */
const modelLimit = 1_000

export interface Parked {
  readonly reason: ParkReason
  readonly status: number
  readonly sinceMs: number
  readonly untilMs: number
  readonly times: number
}

interface Quota {
  /** Of the limit that is nearest, the share that is left: from 0 to 1. */
  readonly share: number
  readonly untilMs: number
}

export interface KeyState {
  inFlight: number
  uses: Decayed
  parked: Parked | undefined
  /** By the vendor's model: until when it takes nothing with this key. */
  readonly busy: Map<string, number>
  /** Likewise: until when others were told so. */
  readonly toldBusy: Map<string, number>
  readonly quota: Map<string, Quota>
}

export function newKeyState(): KeyState {
  return { inFlight: 0, uses: nothingYet, parked: undefined, busy: new Map(), toldBusy: new Map(), quota: new Map() }
}

export interface KeyTools {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly log: Log
  /** Tells one secret from another without saying anything of it. */
  readonly mark: (secret: string) => string
  /** Hears of what other replicas should know. */
  readonly tell: (sighting: Sighting) => void
}

/** A key at its vendor, and what is remembered of it. */
export interface HeldKey {
  readonly entry: VendorEntry
  readonly key: VendorKey
  readonly state: KeyState
}

export function waitOf({ parked, busy }: KeyState, model: string, nowMs: number): number {
  return Math.max(parked?.untilMs ?? 0, busy.get(model) ?? 0) - nowMs
}

/** The share that is left of the vendor's limits for a model, 1 where nobody has said. */
export function quotaOf({ quota }: KeyState, model: string, nowMs: number): number {
  const known = quota.get(model)
  return known && known.untilMs > nowMs ? known.share : 1
}

export function used(state: KeyState, nowMs: number): void {
  state.inFlight++
  state.uses = added(state.uses, { value: 1, nowMs, halfLifeMs: useHalfLifeMs })
}

export function usesOf(state: KeyState, nowMs: number): number {
  return decayed(state.uses, nowMs, useHalfLifeMs).sum
}

/** What the vendor's headers say of its limits for a model. */
export function noteRemaining(
  tools: KeyTools,
  held: HeldKey,
  said: { model: string; left: readonly Remaining[] },
): void {
  const { model, left } = said
  const waits = left.flatMap((one) => (one.left === 0 && one.resetMs !== undefined ? [one.resetMs] : []))
  if (waits.length > 0) busyFor(tools, held, { model, ms: Math.max(...waits) })
  const shares = left.flatMap(({ left: rest, limit, resetMs }) =>
    limit === undefined || limit <= 0 ? [] : [{ share: Math.min(1, rest / limit), resetMs }],
  )
  const [first, ...others] = shares
  if (!first) return
  const nearest = others.reduce((least, one) => (one.share < least.share ? one : least), first)
  const untilMs = tools.clock.elapsed() + (nearest.resetMs ?? quotaMs)
  setBounded(held.state.quota, model, { share: nearest.share, untilMs })
}

interface Busy {
  readonly model: string
  readonly ms: number
}

function busyFor(tools: KeyTools, held: HeldKey, { model, ms }: Busy): void {
  const { state } = held
  const forMs = Math.min(ms, longestBusyMs)
  const untilMs = tools.clock.elapsed() + forMs
  setBounded(state.busy, model, untilMs)
  if (forMs < leastToldMs || untilMs - (state.toldBusy.get(model) ?? 0) < leastToldMs) return
  setBounded(state.toldBusy, model, untilMs)
  tools.tell({ kind: 'key_busy', ...named(tools, held), model, forMs: Math.ceil(forMs) })
}

/** What a failed try says of the key that it was made with. */
export function noteFailure(
  tools: KeyTools,
  held: HeldKey,
  { model, failure }: { readonly model: string; readonly failure: TryFailure },
): void {
  if (failure.fault === 'busy') busyFor(tools, held, { model, ms: failure.retryAfterMs ?? defaultBusyMs })
  if (failure.fault !== 'account') return
  if (isOfKey(failure)) park(tools, held, failure)
  else setBounded(held.state.busy, model, tools.clock.elapsed() + firstParkMs)
}

/** Whether the key is at fault, or what it asked for: a model that is not there, or not there for us. */
function isOfKey({ about, status }: TryFailure): boolean {
  return about !== 'model' && status !== 403 && status !== 404
}

/** Logged once for each change, so that an operator hears of it and the log is not filled. */
function park(tools: KeyTools, held: HeldKey, { status }: TryFailure): void {
  const { clock, log, tell } = tools
  const { state, entry, key } = held
  const nowMs = clock.elapsed()
  const before = state.parked
  if (before && before.untilMs > nowMs) return
  // A 429 that is about the account says that its quota is used up, not that it is asked too often.
  const reason: ParkReason = status === 402 || status === 429 ? 'out_of_credit' : 'refused'
  const times = (before?.times ?? 0) + 1
  const forMs = Math.min(longestParkMs, firstParkMs * 2 ** Math.min(times - 1, 10))
  state.parked = { reason, status, sinceMs: nowMs, untilMs: nowMs + forMs, times }
  const again = before?.reason === reason
  if (!again) log('vendor_key_parked', { vendor: entry.id, key: key.id, reason, status, forMs })
  tell({ kind: 'key_parked', ...named(tools, held), reason, status, forMs, again })
}

/** The vendor has taken the key in a try that began at `startedMs`: one from before says nothing of a key parked since. */
export function noteWorked(tools: KeyTools, held: HeldKey, startedMs: number): void {
  const { state, entry, key } = held
  if (!state.parked || startedMs < state.parked.sinceMs) return
  state.parked = undefined
  tools.log('vendor_key_works', { vendor: entry.id, key: key.id })
  tools.tell({ kind: 'key_works', ...named(tools, held) })
}

export type KeySighting = Extract<Sighting, { readonly key: string }>

/** What another replica has seen of a key of the same secret; for any other it changes nothing. */
export function noteHeard(tools: KeyTools, held: HeldKey, seen: KeySighting): void {
  const { state, entry, key } = held
  if (seen.mark !== tools.mark(key.secret)) return
  const nowMs = tools.clock.elapsed()
  if (seen.kind === 'key_busy') {
    const untilMs = nowMs + Math.min(seen.forMs, longestBusyMs)
    if (untilMs > (state.busy.get(seen.model) ?? 0)) setBounded(state.busy, seen.model, untilMs)
    return
  }
  if (seen.kind === 'key_works') {
    if (state.parked) tools.log('vendor_key_works', { vendor: entry.id, key: key.id, heard: true })
    state.parked = undefined
    return
  }
  const { reason, status } = seen
  const before = state.parked
  const untilMs = nowMs + Math.min(seen.forMs, longestParkMs)
  if (before && before.untilMs >= untilMs) return
  state.parked = { reason, status, sinceMs: before?.sinceMs ?? nowMs, untilMs, times: before?.times ?? 1 }
  if (before?.reason !== reason)
    tools.log('vendor_key_parked', { vendor: entry.id, key: key.id, reason, status, forMs: seen.forMs, heard: true })
}

/** What a replica that has just come should know of a key. */
export function sightingsOf(tools: KeyTools, held: HeldKey): readonly Sighting[] {
  const { parked, busy } = held.state
  const nowMs = tools.clock.elapsed()
  const left = (untilMs: number): number => Math.ceil(untilMs - nowMs)
  const isBusy = [...busy].filter(([, untilMs]) => left(untilMs) >= leastToldMs)
  const isParked = parked !== undefined && left(parked.untilMs) > 0
  if (!isParked && isBusy.length === 0) return []
  const of = named(tools, held)
  return [
    ...(isParked
      ? [{ kind: 'key_parked', ...of, ...told(parked), forMs: left(parked.untilMs), again: true } as const]
      : []),
    ...isBusy.map(([model, untilMs]) => ({ kind: 'key_busy', ...of, model, forMs: left(untilMs) }) as const),
  ]
}

function told({ reason, status }: Parked): Pick<Parked, 'reason' | 'status'> {
  return { reason, status }
}

function named({ mark }: KeyTools, { entry, key }: HeldKey) {
  return { vendor: entry.id, key: key.id, mark: mark(key.secret) }
}

function setBounded<Value>(map: Map<string, Value>, name: string, value: Value): void {
  map.delete(name)
  map.set(name, value)
  const [oldest = name] = map.keys()
  if (map.size > modelLimit) map.delete(oldest)
}
