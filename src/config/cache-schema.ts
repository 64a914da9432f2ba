import { z } from 'zod'
import { type CachePolicy, cacheModes, defaultCaching } from '../core/caching.ts'
import { oneOf, percent, section, whole, wholeOr } from './fields.ts'

const maxTtlSeconds = 30 * 86_400
const mebibyte = 1_048_576
const mostBytes = 1_048_576 * mebibyte
const truth = z.boolean({ error: 'must be true or false' })

/** What of a model's answers identical calls get. */
export const caching = section({
  mode: oneOf(cacheModes).optional(),
  ttl_seconds: whole(1, maxTtlSeconds).optional(),
  stale_seconds: whole(0, maxTtlSeconds)
    .optional()
    .describe('So long after its time an answer is given where no target answers. Default: 0, never'),
  hit_percent: percent(100).optional().describe('What an answer from the cache costs, of what it cost first'),
  single_flight: truth.optional(),
})

/** Where answers are kept. */
export const cacheStores = section({
  memory_bytes: wholeOr(64 * mebibyte, 0, mostBytes),
  memory_entries: wholeOr(10_000, 0, 10_000_000),
  redis_bytes: wholeOr(64 * mebibyte, 0, mostBytes),
  database: truth.default(false),
})

export const idempotency = section({
  while_running: oneOf(['wait', 'refuse']).default('wait'),
  wait_seconds: wholeOr(60, 1, 3_600),
  keep_hours: wholeOr(24, 1, 168),
})

/** Where answers are kept for identical calls, and how much of them. */
export interface CacheStores {
  readonly memoryBytes: number
  readonly memoryEntries: number
  /** 0: none in Redis. */
  readonly redisBytes: number
  readonly isInDatabase: boolean
}

export interface IdempotencyConfig {
  readonly whileRunning: 'wait' | 'refuse'
  readonly waitMs: number
  readonly keepHours: number
}

/** What one map says, and for the rest what is said for all; undefined where neither says anything. */
export function buildCaching(
  given: z.output<typeof caching> | undefined,
  defaults: CachePolicy | undefined,
): CachePolicy | undefined {
  if (!given) return defaults
  const { mode, ttl_seconds: ttl, stale_seconds: stale, hit_percent: hit, single_flight: single } = given
  const others = defaults ?? defaultCaching
  return {
    mode: mode ?? others.mode,
    ttlMs: ttl === undefined ? others.ttlMs : ttl * 1_000,
    staleMs: stale === undefined ? others.staleMs : stale * 1_000,
    hitPpm: hit ?? others.hitPpm,
    singleFlight: single ?? others.singleFlight,
  }
}

export function buildStores(given: z.output<typeof cacheStores>): CacheStores {
  return {
    memoryBytes: given.memory_bytes,
    memoryEntries: given.memory_entries,
    redisBytes: given.redis_bytes,
    isInDatabase: given.database,
  }
}

export function buildIdempotency(given: z.output<typeof idempotency>): IdempotencyConfig {
  return { whileRunning: given.while_running, waitMs: given.wait_seconds * 1_000, keepHours: given.keep_hours }
}
