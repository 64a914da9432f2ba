import { z } from 'zod'
import {
  limitAlgorithms,
  limitedThings,
  type LimitWindow,
  limitWindows,
  mostLimit,
  type RateLimit,
} from '../core/rate-limit.ts'
import { limitScopes } from '../core/shared-limit.ts'
import { named, oneOf, section, text, whole, wholeOr } from './fields.ts'

/** Limits of tiers and over accounts in the configuration file. */

const windows = Object.keys(limitWindows) as [LimitWindow, ...LimitWindow[]]
const mostOfTier = limitedThings.length * windows.length
const mostShared = 1_000
const tierNames = { pattern: /^[a-z0-9][a-z0-9_-]{0,31}$/, most: 100, rule: 'a-z, 0-9, "-" and "_", at most 32' }

const limit = {
  of: oneOf(limitedThings),
  window: oneOf(windows),
  limit: whole(1, mostLimit),
  algorithm: oneOf(limitAlgorithms).default('token_bucket'),
}

const tier = section({
  limits: z
    .array(section(limit), { error: 'must be a list of limits' })
    .max(mostOfTier, { error: `must hold at most ${mostOfTier} limits` })
    .refine(isOncePerWindow, { error: 'must hold at most one limit of requests and one of tokens for each window' })
    .default([]),
  concurrency: whole(1, 1_000_000).optional(),
  priority: wholeOr(0, 0, 100),
})

function isOncePerWindow(limits: readonly RateLimit[]): boolean {
  return new Set(limits.map(({ of, window }) => `${of} ${window}`)).size === limits.length
}

const shared = section({
  scope: oneOf(limitScopes),
  name: text(/^[\x21-\x7e]{1,256}$/, 'must be the exact name of what is limited').optional(),
  ...limit,
})

export const limits = section({
  tiers: named(tierNames, tier).default({}),
  shared: z
    .array(shared, { error: 'must be a list of limits' })
    .max(mostShared, { error: `must hold at most ${mostShared} limits` })
    .default([]),
  shedding: section({
    event_loop_ms: wholeOr(200, 10, 60_000),
    calls: wholeOr(10_000, 1, 1_000_000),
  }).prefault({}),
})
