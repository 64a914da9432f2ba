import type { KeyFacts } from '../../core/call.ts'
import {
  corrected,
  advanced,
  hasRoom,
  isSameLimit,
  leftOf,
  type LimitLeft,
  type Meter,
  meterAt,
  mostLimit,
  type RateLimit,
  type TightestLimits,
  waitMs,
} from '../../core/rate-limit.ts'
import { assert } from './assert.ts'
import type { Admit, AdmitReply } from './commands.ts'
import { maxLimits } from './invariants.ts'
import type { HoldRecord, KeyRecord } from './records.ts'

/** The limits by time of a chain of keys: see core/rate-limit.ts for how one meter counts. */

/** Throws LedgerAssertion where what is asked for cannot be counted exactly. */
export function checkLimits({ keys, tokens = 0 }: Pick<Admit, 'keys' | 'tokens'>): void {
  assert(isWithin(tokens, 0), 'an estimate of tokens is whole and not above all limits')
  for (const { limits = [] } of keys) {
    assert(limits.length <= maxLimits, 'the limits of a key are bounded')
    assert(
      limits.every(({ limit }) => isWithin(limit, 1)),
      'a limit is whole and not above all limits',
    )
    const isOnce = limits.every((limit, at) => limits.findIndex((other) => isSameLimit(limit, other)) === at)
    assert(isOnce, 'a meter counts for one limit')
  }
}

function isWithin(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least && value <= mostLimit
}

/** The meters of a key's limits now; of a limit that was not counted before, at nothing. */
export function metersOf(limits: readonly RateLimit[], { meters = [] }: KeyRecord, nowMs: number): readonly Meter[] {
  return limits.map((limit) =>
    meterAt(
      limit,
      meters.find((meter) => isSameLimit(meter, limit)),
      nowMs,
    ),
  )
}

/** What one call counts against a limit. */
export function amountOf({ of }: Pick<RateLimit, 'of'>, { tokens = 0 }: Pick<Admit, 'tokens'>): number {
  return of === 'requests' ? 1 : tokens
}

export function limitsTokens(keys: readonly KeyFacts[]): boolean {
  return keys.some(({ limits }) => limits?.some(({ of }) => of === 'tokens'))
}

type Full = Omit<Extract<AdmitReply, { code: 'limit' }>, 'code'>

/** The first limit by time that has no room for a call, leaf first. The chain's meters are brought to now. */
export function fullMeter(
  chain: readonly { readonly facts: KeyFacts; readonly key: KeyRecord }[],
  command: Pick<Admit, 'tokens'>,
  nowMs: number,
): Full | undefined {
  for (const { facts, key } of chain) {
    const meters = facts.limits?.length ? (key.meters ?? []) : []
    const full = meters.find((meter) => !hasRoom(meter, amountOf(meter, command), nowMs))
    if (full) return refusedBy(full, { keyId: key.id, command, nowMs })
  }
  return undefined
}

/** What is said of a limit that has no room for a call. */
export function refusedBy(
  meter: Meter,
  { keyId, command, nowMs }: { keyId: number; command: Pick<Admit, 'tokens'>; nowMs: number },
): Full {
  const { of, limit, window } = meter
  const retryMs = waitMs(meter, amountOf(meter, command), nowMs)
  return { what: of, keyId, limit, window, retryMs, [of]: leftOf(meter, nowMs) }
}

/** What is left of one limit: of the bucket of requests per minute it is known, of a meter it is computed. */
export type Candidate = Meter | { readonly of: RateLimit['of']; readonly left: LimitLeft }

/** Of each the one with the least left; the first where two are even. */
export function tightest(candidates: readonly Candidate[], nowMs: number): TightestLimits {
  const least: { requests?: LimitLeft; tokens?: LimitLeft } = {}
  for (const candidate of candidates) {
    const left = 'left' in candidate ? candidate.left : leftOf(candidate, nowMs)
    const known = least[candidate.of]
    if (!known || left.remaining < known.remaining) least[candidate.of] = left
  }
  return least
}

/** A key after one of its holds has ended with so many tokens, in the place of those that it reserved. */
export function withTokens(
  key: KeyRecord,
  { reserved }: Pick<HoldRecord, 'reserved'>,
  { tokens, nowMs }: { tokens: number; nowMs: number },
): KeyRecord {
  if (!reserved || !key.meters) return key
  const meters = key.meters.map((meter) =>
    meter.of === 'tokens' ? corrected(advanced(meter, nowMs), reserved, tokens) : meter,
  )
  return { ...key, meters }
}
