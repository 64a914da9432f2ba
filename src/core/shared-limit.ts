import type { Budget } from './call.ts'
import {
  capacityOf,
  counted,
  isSameLimit,
  levelOf,
  type Meter,
  meterAt,
  mostLimit,
  type RateLimit,
  returned,
  waitMs,
} from './rate-limit.ts'

/** The limits of every account of a tier, over all its keys. */
export interface TierLimits {
  readonly limits: readonly RateLimit[]
  readonly concurrency?: number
  /** What an account may be charged in a period, in its own currency. */
  readonly budgets?: readonly Budget[]
  /** Those of a lower one are refused first where a process has more to do than it can. */
  readonly priority: number
}

/** What a limit over accounts is about. Of one that names nothing, each model, address or vendor is limited by itself. */
export const limitScopes = ['global', 'ip', 'model', 'endpoint', 'vendor', 'vendor_key'] as const
export type LimitScope = (typeof limitScopes)[number]

/** A limit of calls at once. */
export interface SlotLimit {
  readonly of: 'concurrency'
  /** From 1 to `mostLimit`. */
  readonly limit: number
}

/** A limit that holds over accounts and over all replicas; each decides by the share that it was lent. */
export type SharedLimit = (RateLimit | SlotLimit) & {
  readonly scope: LimitScope
  /** A vendor's key is named by its vendor and its id, with a slash between them; an address as `networkName` does. */
  readonly name?: string
}

/** A replica asks for its share of a limit: so many more, or fewer than none for those that it gives back. */
export interface ShareAsk {
  /** What is limited: the same limit has the same id in every replica. */
  readonly id: string
  readonly limit: RateLimit
  readonly replica: string
  /** What it would use if it could: by that a share that is too small for all is divided. */
  readonly want: number
  /** What was lent and will not be used. */
  readonly back: number
  /** Less than this is of no use, and is left for others: a call cannot be let in by halves. Absent: 1. */
  readonly least?: number
}

export interface Share {
  readonly granted: number
  /** True where others, or it, may have more at once. */
  readonly hasMore: boolean
  /** Until there will be as much again as is of use; 0 where there is. */
  readonly retryMs: number
  /** Until all of it is there again. */
  readonly resetMs: number
}

/** What a store knows of a limit that it lends out. */
export interface LentRecord {
  readonly meter: Meter
  /** What replicas would use if they could, as they last said. */
  readonly wants: readonly { readonly replica: string; readonly want: number; readonly atMs: number }[]
}

/** A replica that has not asked for so long wants nothing any more: it is gone, or nobody calls it. */
export const wantMs = 3_000
/** Who has asked within so long has had his part of what is there; the others still come. */
export const turnMs = 500
/** Replicas whose wishes are remembered; far above any installation. */
export const maxWants = 256

/**
 * Lends a part of a limit. What is lent is counted at once, so all replicas together never have more than the limit, and
 * what a replica that died had left lapses. Where not all can have what they want, each of those that still come has an equal part of what is there.
 */
function lend(record: LentRecord | undefined, ask: ShareAsk, nowMs: number): { record: LentRecord; share: Share } {
  const { limit, replica, want, back, least = 1 } = ask
  const before = record && isSameLimit(record.meter, limit) ? record.meter : undefined
  const meter = returned(meterAt(limit, before, nowMs), back)
  const live = (record?.wants ?? []).filter(
    (one) => one.replica !== replica && Math.abs(nowMs - one.atMs) < wantMs && one.want > 0,
  )
  const wants = want > 0 ? [...live, { replica, want, atMs: nowMs }] : live
  const others = live.reduce((sum, one) => sum + one.want, 0)
  const free = Math.max(0, capacityOf(limit) - levelOf(meter, nowMs))
  const waiting = live.filter((one) => nowMs - one.atMs >= turnMs).length
  const part = Math.max(least, Math.floor(free / (waiting + 1)), free - others)
  const most = Math.min(want, free, part)
  const granted = most < least ? 0 : most
  const lent = counted(meter, granted)
  return {
    record: { meter: lent, wants: wants.slice(-maxWants) },
    share: shareOf(lent, { want, granted, least, nowMs }),
  }
}

/** What was asked for, and given. */
interface Lending {
  readonly want: number
  readonly granted: number
  readonly least: number
  readonly nowMs: number
}

/** What a replica is told, from the meter after the loan. */
export function shareOf(meter: Meter, { want, granted, least, nowMs }: Lending): Share {
  const [retryMs, resetMs] = [waitMs(meter, Math.max(1, least), nowMs), waitMs(meter, capacityOf(meter), nowMs)]
  return { granted, hasMore: granted === want, retryMs, resetMs }
}

/** Throws RangeError for what cannot be counted exactly. */
export function checkAsk({ limit, want, back, least = 1 }: ShareAsk): void {
  for (const number of [limit.limit, want, back, least]) {
    if (!Number.isSafeInteger(number) || number < 0 || number > mostLimit)
      throw new RangeError('a share is asked for in whole numbers')
  }
}

/** Limits remembered by one process that lends to itself. Those used longest ago go first, and begin anew. */
const lentLimits = 100_000

/** Lends out of this process's own memory. */
export function openLender(): { lend(ask: ShareAsk, nowMs: number): Share } {
  const records = new Map<string, LentRecord>()
  return {
    lend(ask, nowMs) {
      checkAsk(ask)
      const { record, share } = lend(records.get(ask.id), ask, nowMs)
      records.delete(ask.id)
      records.set(ask.id, record)
      if (records.size > lentLimits) records.delete(records.keys().next().value ?? ask.id)
      return share
    },
  }
}
