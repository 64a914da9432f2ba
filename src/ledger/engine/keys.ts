import type { Budget } from '../../core/call.ts'
import type { Nanos } from '../../core/money.ts'
import { assert } from './assert.ts'
import type { LimitLeft } from '../../core/rate-limit.ts'
import { periodStart } from '../../core/period.ts'
import type { KeyRecord, WindowRecord } from './records.ts'

const minuteMs = 60_000

/** Brings a window to the period of now. A clock that went back does not start a period anew. */
function rolled(window: WindowRecord, nowMs: number): WindowRecord {
  const period = periodStart(window.window, nowMs)
  return period > window.period ? { ...window, period, spent: 0n } : window
}

/** A key's counters beside the budgets that it is held to. */
export interface Budgeted {
  readonly key: KeyRecord
  readonly budgets: readonly Budget[]
}

/** The first budget that `more` would break: what is spent and held may reach a limit, not pass it. */
export function brokenBudget({ key, budgets }: Budgeted, more: Nanos, nowMs: number): Budget | undefined {
  assert(more >= 0n, 'an estimate cannot be negative')
  return budgets.find((budget) => {
    const counter = key.windows.find(({ window }) => window === budget.window)
    assert(counter !== undefined, 'a budget has a counter')
    return rolled(counter, nowMs).spent + key.held + more > budget.limit
  })
}

/** What is in the request bucket of a key now, in the unit of `KeyRecord.requestsLeft`. */
function refilled(key: KeyRecord, limit: number, nowMs: number): number {
  const full = limit * minuteMs
  if (key.requestsLeft === undefined || key.requestsAtMs === undefined) return full
  const elapsedMs = Math.min(minuteMs, Math.max(0, nowMs - key.requestsAtMs))
  return Math.min(full, key.requestsLeft + elapsedMs * limit)
}

/** The state of a request limit; `retryMs` says when the next request fits, 0 for now. */
export function requestsOf(key: KeyRecord, limit: number, nowMs: number): LimitLeft & { readonly retryMs: number } {
  assert(Number.isSafeInteger(limit * minuteMs) && limit >= 0, 'a request limit is a whole number, zero or more')
  const left = refilled(key, limit, nowMs)
  assert(left >= 0 && left <= limit * minuteMs, 'a request bucket is between empty and full')
  // A limit of nothing never refills; a minute keeps clients from asking in a loop.
  const waitMs = (amount: number) => (limit === 0 ? minuteMs : Math.ceil(Math.max(0, amount - left) / limit))
  return { limit, remaining: Math.floor(left / minuteMs), resetMs: waitMs(limit * minuteMs), retryMs: waitMs(minuteMs) }
}

/** Counts a new hold at a key: a slot, its estimate, and a request where requests are limited. */
export function occupy(
  key: KeyRecord,
  estimate: Nanos,
  entry: { limit: number | undefined; nowMs: number },
): KeyRecord {
  assert(estimate >= 0n, 'an estimate cannot be negative')
  const taken = { ...key, inFlight: key.inFlight + 1, held: key.held + estimate }
  if (entry.limit === undefined) return taken
  const left = refilled(key, entry.limit, entry.nowMs) - minuteMs
  assert(left >= 0, 'a request that is let in was in the bucket')
  return { ...taken, requestsLeft: left, requestsAtMs: Math.max(entry.nowMs, key.requestsAtMs ?? 0) }
}

/** Gives a hold's slot and estimate back. */
export function release(key: KeyRecord, estimate: Nanos): KeyRecord {
  assert(key.inFlight > 0, 'a hold that ends was in flight')
  assert(estimate >= 0n && estimate <= key.held, 'a key holds the estimates of its holds')
  return { ...key, inFlight: key.inFlight - 1, held: key.held - estimate }
}

/** Counts a charge in every window of a key. */
export function spend(key: KeyRecord, charge: Nanos, nowMs: number): KeyRecord {
  assert(charge >= 0n, 'a charge cannot be negative')
  if (charge === 0n) return key
  const windows = key.windows.map((window) => rolled(window, nowMs))
  return { ...key, windows: windows.map((window) => ({ ...window, spent: window.spent + charge })) }
}
