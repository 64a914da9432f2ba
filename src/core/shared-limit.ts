import type { RateLimit } from './rate-limit.ts'

/** The limits of every account of a tier, over all its keys. */
export interface TierLimits {
  readonly limits: readonly RateLimit[]
  readonly concurrency?: number
  /** Those of a lower one are refused first where a process has more to do than it can. */
  readonly priority: number
}

/** What a limit over accounts is about. Of one that names nothing, each model (vendor, address …) is limited by itself. */
export const limitScopes = ['global', 'ip', 'model', 'vendor', 'vendor_key', 'endpoint'] as const
export type LimitScope = (typeof limitScopes)[number]

/** A limit that holds over accounts and over all replicas; each decides by the share that it was lent. */
export interface SharedLimit extends RateLimit {
  readonly scope: LimitScope
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
}

export interface Share {
  readonly granted: number
  /** True where others, or it, may have more at once. */
  readonly hasMore: boolean
  /** Until at least one more will be there; 0 where there is. */
  readonly retryMs: number
  /** Until all of it is there again. */
  readonly resetMs: number
}
