import { periodAt } from '../../src/core/calendar.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import type { NewGrant } from '../../src/db/grants.ts'
import type { Purse } from '../../src/ports.ts'
import { closeLease, grantsOf, unitScale, type ModelGrant, type ModelPurse, type ModelState } from './model-state.ts'

/** Grants and quotas in the model of the books: how they begin, in which order they pay, and how they end. */

/** Purses of grants have ids above all wallets'. */
const firstPurse = 1_000_000
const purseLimit = 100
const graceMs = 86_400_000

type Fresh = Omit<ModelGrant, 'id' | 'deferred' | 'unitValue' | 'voidedAtMs' | 'closedAtMs'>

/** Makes a grant with its purse. */
export function openGrant(state: ModelState, wanted: Fresh & { readonly asset: string }): ModelGrant {
  const { asset, ...fresh } = wanted
  const id = grantsOf(state).length + 1
  const unitValue = (fresh.price * unitScale) / fresh.amount
  const made = { deferred: fresh.price, voidedAtMs: undefined, closedAtMs: undefined }
  const grant: ModelGrant = { ...fresh, id, unitValue, ...made }
  const amounts = { creditLimit: 0n, free: fresh.amount, posted: fresh.amount }
  const purse = { id: firstPurse + id, accountId: fresh.accountId, kind: fresh.kind, asset, grant, ...amounts }
  state.purses.set(purse.id, purse)
  return grant
}

/** Once for each reference. */
export function grant(state: ModelState, wanted: NewGrant): { readonly id: number; readonly applied: boolean } {
  const { accountId, kind, amount, price, priority, models, expiresAtMs, source, ref } = wanted
  const account = state.accounts.get(accountId)
  const before = grantsOf(state).find((one) => one.ref === ref)
  if (!before) {
    if (!account) throw new GatewayError('not_found', 'no such account')
    const times = { effectiveAtMs: wanted.effectiveAtMs ?? state.now(), expiresAtMs }
    const asset = kind === 'package' ? tokenAsset : account.currency
    const made = openGrant(state, { accountId, kind, amount, price, priority, models, source, ref, asset, ...times })
    return { id: made.id, applied: true }
  }
  const asked = [accountId, kind, amount, price, priority, expiresAtMs, wanted.effectiveAtMs ?? before.effectiveAtMs]
  const had = [before.accountId, before.kind, before.amount, before.price, before.priority, before.expiresAtMs]
  if (
    [...had, before.effectiveAtMs].every((value, at) => value === asked[at]) &&
    models.join() === before.models.join()
  )
    return { id: before.id, applied: false }
  throw new GatewayError('conflict', 'another grant')
}

/** The purses that can pay now, in burn order. */
export function payingPurses(state: ModelState, accountId: number): readonly Purse[] {
  renewQuotas(state, accountId)
  const nowMs = state.now()
  const own = [...state.purses.values()].filter((purse) => purse.accountId === accountId)
  const granted = own
    .filter(({ grant: one }) => one && isRunning(one, nowMs))
    .sort((a, b) => compare(orderOf(a.grant), orderOf(b.grant)))
    .filter(({ kind, posted }) => kind === 'quota' || posted > 0n)
  const wallet = own.filter(({ kind }) => kind === 'wallet')
  return [...granted.slice(0, purseLimit), ...wallet].map(({ id, kind, asset, grant: one, posted }) => ({
    id,
    kind,
    asset,
    models: one?.models ?? [],
    expiresAtMs: one?.expiresAtMs,
    posted,
  }))
}

function isRunning(one: ModelGrant, nowMs: number): boolean {
  const { closedAtMs, voidedAtMs, effectiveAtMs, expiresAtMs = Infinity } = one
  return closedAtMs === undefined && voidedAtMs === undefined && effectiveAtMs <= nowMs && expiresAtMs > nowMs
}

function orderOf(one: ModelGrant | undefined): readonly number[] {
  if (!one) return []
  const { priority, expiresAtMs = Infinity, kind, effectiveAtMs, id } = one
  return [priority, expiresAtMs, kind === 'package' ? 1 : 0, effectiveAtMs, id]
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index])
  return at === -1 ? 0 : (a[at] ?? 0) < (b[at] ?? 0) ? -1 : 1
}

function renewQuotas(state: ModelState, accountId: number): void {
  for (const quota of state.quotas.filter((one) => one.accountId === accountId)) {
    const { asset, amount, priority } = quota
    const period = periodAt({ period: 'day', anchorMs: quota.anchorMs, timeZone: 'UTC' }, state.now())
    const starts = grantsOf(state).flatMap((one) => (one.quotaId === quota.id ? (one.periodStartMs ?? []) : []))
    if (!period || starts.some((start) => start >= period.startMs)) continue
    const times = { effectiveAtMs: period.startMs, expiresAtMs: period.endMs, periodStartMs: period.startMs }
    const terms = { accountId, kind: 'quota', amount, priority, models: [], price: 0n, quotaId: quota.id } as const
    openGrant(state, { ...terms, ...times, asset, source: `quota ${quota.id}`, ref: undefined })
  }
}

/** When a grant ends, by itself or because it was voided. */
export const endOf = ({ expiresAtMs = Infinity, voidedAtMs = Infinity }: ModelGrant): number =>
  Math.min(expiresAtMs, voidedAtMs)

export function voidGrant(state: ModelState, accountId: number, id: number): void {
  const purse = [...state.purses.values()].find(({ grant: one }) => one?.id === id)
  if (!purse?.grant || purse.accountId !== accountId) throw new GatewayError('not_found', 'no such grant')
  if (purse.grant.closedAtMs === undefined) purse.grant.voidedAtMs ??= state.now()
  endGrant(state, purse)
}

/** Takes what is free of a grant that has ended; after the grace everything, and closes it. */
export function endGrant(state: ModelState, purse: ModelPurse): void {
  const { grant: one } = purse
  const nowMs = state.now()
  if (!one || one.closedAtMs !== undefined || endOf(one) > nowMs) return
  const isFinal = endOf(one) <= nowMs - graceMs
  if (isFinal) {
    for (const lease of state.leases.filter(({ purse: of }) => of === purse.id)) {
      if (lease.state === 'open') lease.state = 'frozen'
      closeLease(state, lease)
    }
  }
  const taken = isFinal || purse.free > 0n ? purse.free : 0n
  if (purse.posted === taken) one.deferred = 0n
  purse.posted -= taken
  purse.free -= taken
  if (isFinal) one.closedAtMs = nowMs
}
