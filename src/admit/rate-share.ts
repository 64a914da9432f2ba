import { capacityOf, limitWindows, mostLimit, type RateLimit } from '../core/rate-limit.ts'
import type { Share, ShareAsk } from '../core/shared-limit.ts'
import type { Bound } from './shares.ts'

/** This replica's share of one limit by time. Times are of the clock that never goes back. */
export interface RateShare {
  readonly kind: 'rate'
  readonly bound: Bound
  readonly limit: RateLimit
  /** Lent and not used; below zero after a call that had more tokens than it was thought to. */
  left: number
  /** What calls asked for since the last request, whether or not they were let in. */
  demand: number
  /** What the last call needed for which too little was here; 0 where there was none since. */
  need: number
  usedAtMs: number
  askedAtMs: number
  /** What the last answer said. */
  share: Share | undefined
  asking: Promise<void> | undefined
}

/** Shares are renewed so often; of a limit that is used up within a second, more often. */
export const renewMs = 1_000
/** A hundredth of the shortest window: what is not lent when it ends is lost. */
const soonestMs = 10
/** What waits in the store meanwhile is less than a hundredth of what a limit lets in within some twenty seconds. */
const latestMs = 200
/** What was asked for in less time says little about a second. */
const leastSampleMs = 100

export function openRateShare(bound: Bound, limit: RateLimit): RateShare {
  return {
    kind: 'rate',
    bound,
    limit,
    left: 0,
    demand: 0,
    need: 0,
    usedAtMs: 0,
    askedAtMs: 0,
    share: undefined,
    asking: undefined,
  }
}

/** What a call of so many tokens counts. */
export function amountOf({ limit }: RateShare, tokens: number): number {
  return limit.of === 'requests' ? 1 : tokens
}

export function demandRate(share: RateShare, tokens: number): void {
  share.demand = Math.min(mostLimit, share.demand + amountOf(share, tokens))
  if (!fitsRate(share, tokens)) share.need = neededOf(share, tokens)
}

/** A call that is larger than the whole limit is let in when all of it is there, and what is above it is owed. */
export function fitsRate(share: RateShare, tokens: number): boolean {
  return share.left >= neededOf(share, tokens)
}

function neededOf(share: RateShare, tokens: number): number {
  return Math.min(amountOf(share, tokens), capacityOf(share.limit))
}

/** At once where nothing is known, or where there was more; else when the share comes due. */
export function mayAskRate({ share, asking, askedAtMs, limit }: RateShare, nowMs: number): boolean {
  if (asking || share === undefined || share.hasMore) return true
  return nowMs - askedAtMs >= Math.max(share.retryMs, everyMs(limit))
}

/**
 * A tenth of the time in which a bucket refills what it lets in at once. What a window has not lent when it ends is lost,
 * so it is asked two hundred times.
 */
function everyMs(limit: RateLimit): number {
  const windowMs = limitWindows[limit.window]
  const fullMs = Math.floor((windowMs * capacityOf(limit)) / limit.limit)
  const wishedMs = limit.algorithm === 'sliding_window' ? windowMs / 200 : Math.floor(fullMs / 10)
  return Math.min(latestMs, Math.max(soonestMs, wishedMs))
}

/** When there is room, as far as the last answer said. */
export function rateRetryMs({ share, askedAtMs }: RateShare, nowMs: number): number {
  return Math.max(1, (share?.retryMs ?? renewMs) - (nowMs - askedAtMs))
}

/**
 * A second's demand is kept ready; what is above that goes back. So does what is too little for a call, where there was
 * no more to be had: what each replica has too little of may be enough for one of them. Of a window it is kept, because
 * what is not lent when it ends is lost, and what is here counts on. What is owed is paid in any parts.
 */
export function askRate(entry: RateShare, replica: string, nowMs: number): ShareAsk {
  const sinceMs = nowMs - entry.askedAtMs
  const target =
    entry.askedAtMs === 0
      ? entry.demand
      : Math.ceil((entry.demand * renewMs) / Math.min(renewMs, Math.max(leastSampleMs, sinceMs)))
  const isWhole = entry.limit.algorithm !== 'sliding_window' && entry.left >= 0
  const isStuck = isWhole && entry.share?.hasMore === false && entry.left < entry.need
  const back = Math.max(0, isStuck ? entry.left : entry.left - target)
  const left = entry.left - back
  const want = Math.min(mostLimit, Math.max(0, entry.need - left, target - left))
  const least = isWhole ? Math.max(1, entry.need - left) : 1
  Object.assign(entry, { demand: 0, need: 0, askedAtMs: nowMs, left })
  return { id: entry.bound.id, limit: entry.limit, replica, want, back, least }
}
